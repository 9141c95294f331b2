import type { Scope, Source, Store } from '@repo/db'
import type { Passage } from '@repo/llm'
import type { RetrievedPassage } from '@repo/rag'
import type { Answer } from './answer.ts'
import type { Degraded, SearchPassages } from './search-passages.ts'

const passageCount = 6 // of at most 300 tokens each: about 2,000 tokens with titles

/** Returns the owner's best passages in a scope for a question, as the model and as clients receive them. */
export async function findPassages(
  searchPassages: SearchPassages,
  owner: string,
  question: string,
  options: {
    scope: Scope | undefined
    organization: string | undefined
    signal: AbortSignal
    keyId: string | undefined
  },
): Promise<{ passages: Passage[]; sources: Source[]; degraded: Degraded | undefined }> {
  const { passages: found, degraded } = await searchPassages(owner, question, { limit: passageCount, ...options })
  return {
    degraded,
    passages: numberPassages(found),
    sources: found.map((passage, index) => toSource(passage, index + 1)),
  }
}

/** Returns passages as the model receives them, with the numbers by which it may cite them. */
export function numberPassages(found: RetrievedPassage[]): Passage[] {
  return found.map(({ heading, text }, index) => ({ n: index + 1, title: heading, text }))
}

/** Returns the passages that were found before an answer began, if their documents still exist. */
export async function readPassages(
  store: Store,
  organization: string | undefined,
  { owner, parts, sources }: Answer,
): Promise<Passage[]> {
  const [first] = parts
  const given = first?.type === 'sources' ? sources.slice(0, first.count) : []
  if (given.length === 0) return []
  const chunkIds = given.map(({ chunkId }) => chunkId)
  const chunks = new Map(
    (await store.passages.read(owner, chunkIds, organization)).map((chunk) => [chunk.chunkId, chunk]),
  )
  return given.flatMap(({ n, chunkId }) => {
    const chunk = chunks.get(chunkId)
    return chunk ? { n, title: chunk.heading, text: chunk.text } : []
  })
}

/** Returns a passage as clients receive it. `n` is the number by which the text cites it. */
export function toSource(passage: RetrievedPassage, n: number): Source {
  const { documentId, chunkId, title, start, end, page } = passage
  return { n, documentId, chunkId, title, start, end, ...(page !== null && { page }) }
}
