import type { Scope, Metadata as StoredMetadata } from '@repo/db'
import { z } from 'zod'
import { Metadata } from '../documents/metadata.ts'

const maxDocuments = 50 // about what a user selects by hand; for larger sets, filter by metadata

export const DocumentIds = z.array(z.uuid()).max(maxDocuments, `must have at most ${maxDocuments} ids`)

/** The fields of a request that restrict the documents of its answer. */
export const scopeFields = {
  filter: Metadata.optional().meta({
    description: 'Only documents whose metadata contains all of these entries',
    examples: [{ team: 'ops' }],
  }),
  documentIds: DocumentIds.optional().meta({
    description: 'Only these documents. Together with `filter`, documents must match both',
    examples: [['3f0d2c8e-6f0b-4c39-9a53-0d3f8f2f5c11']],
  }),
}

/** Returns the scope of a request, or undefined if it has none. */
export function toScope({ filter, documentIds }: Scope): Scope | undefined {
  return filter || documentIds ? { filter, documentIds } : undefined
}

/** Returns whether an answer with this scope may be found in a document. */
export function isInScope(
  { id, metadata }: { id: string; metadata: StoredMetadata },
  { filter = {}, documentIds }: Scope = {},
) {
  const isNamed = documentIds?.includes(id) ?? true
  return isNamed && Object.entries(filter).every(([key, value]) => metadata[key] === value)
}
