import type { Source } from '@repo/db'

type Passage = Omit<Source, 'n' | 'page'> & { page: number | null }

/** Converts a passage to a source as it is stored with the answer. */
export function toSource({ documentId, chunkId, title, start, end, page }: Passage, index: number): Source {
  return { n: index + 1, documentId, chunkId, title, start, end, ...(page !== null && { page }) }
}

/** Converts a source to a part of the UI message stream. */
export function toSourcePart({ n, title, page, ...location }: Source) {
  const sluice = { ...location, ...(page !== undefined && { page }) }
  const type = 'source-document' as const
  return { type, sourceId: String(n), mediaType: 'text/plain', title, providerMetadata: { sluice } }
}
