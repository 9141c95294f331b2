import { toStorableText } from '@repo/db'
import { z } from 'zod'

const Word = z.string().max(500).transform(toStorableText)

/** What an owner says of a document, or asks of one. */
export const Metadata = z
  .record(z.string().max(100).transform(toStorableText), z.union([Word, z.number(), z.boolean()]))
  .refine((metadata) => Object.keys(metadata).length <= 20, 'should have at most 20 names')

/** The same as JSON, where a request has room for text alone: in a URL and in a form. */
export const MetadataText = z.string().max(10_000).transform(readMetadata)

function readMetadata(json: string, context: z.RefinementCtx) {
  try {
    return Metadata.parse(JSON.parse(json))
  } catch {
    context.addIssue('should be a JSON object of short strings, numbers and booleans, such as {"team":"ops"}')
    return z.NEVER
  }
}
