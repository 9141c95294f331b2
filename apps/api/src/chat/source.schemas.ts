import { z } from 'zod'

/** A passage as clients receive it. */
export const SourceResponse = z.object({
  n: z.int().meta({ description: 'The n of [n] in the text' }),
  documentId: z.string(),
  chunkId: z.string(),
  title: z.string(),
  start: z.int(),
  end: z.int(),
  page: z.int().optional(),
})
