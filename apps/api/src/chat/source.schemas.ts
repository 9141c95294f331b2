import { z } from 'zod'

/** A passage as clients receive it. */
export const SourceResponse = z.object({
  n: z.int().meta({ description: 'The number that the text cites as `[n]`' }),
  documentId: z.string(),
  chunkId: z.string(),
  title: z.string(),
  start: z.int(),
  end: z.int(),
  page: z.int().optional(),
})
