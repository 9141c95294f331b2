import type { Source } from '@repo/db'

type Passage = Omit<Source, 'n' | 'page'> & { page: number | null }

/** A passage as the answer's row keeps it. */
export function toSource({ documentId, chunkId, title, start, end, page }: Passage, index: number): Source {
  return { n: index + 1, documentId, chunkId, title, start, end, ...(page !== null && { page }) }
}

/** A source as a part of the UI message stream. */
export function toSourcePart({ n, title, page, ...place }: Source) {
  const sluice = { ...place, ...(page !== undefined && { page }) }
  const type = 'source-document' as const
  return { type, sourceId: String(n), mediaType: 'text/plain', title, providerMetadata: { sluice } }
}
