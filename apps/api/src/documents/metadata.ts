import { toStorableText } from '@repo/db'
import { z } from 'zod'

const Value = z.string().max(500).transform(toStorableText)

/** Metadata of a document, or a filter for it. */
export const Metadata = z
  .record(z.string().max(100).transform(toStorableText), z.union([Value, z.number(), z.boolean()]))
  .refine((metadata) => Object.keys(metadata).length <= 20, 'must have at most 20 entries')

/** The same as JSON text, for URLs and forms. */
export const MetadataText = z.string().max(10_000).transform(readMetadata)

function readMetadata(json: string, context: z.RefinementCtx) {
  try {
    return Metadata.parse(JSON.parse(json))
  } catch {
    context.addIssue('must be a JSON object of short strings, numbers and booleans, such as {"team":"ops"}')
    return z.NEVER
  }
}
