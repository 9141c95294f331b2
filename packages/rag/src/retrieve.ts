import type { Scope, Store } from '@repo/db'
import type { Embedder } from '@repo/llm'

export type RetrieveOptions = { store: Store; embedder: Pick<Embedder, 'name' | 'weight' | 'embedQuery'> }
export type RetrievedPassage = Awaited<ReturnType<Store['passages']['search']>>[number]

export type SearchOptions = {
  limit: number
  /** The documents to search. Default: all. */
  scope?: Scope | undefined
  signal?: AbortSignal
}

/**
 * Returns the owner's best passages for a question, best first. Makes one embedder call, then runs one SQL statement.
 */
export async function retrievePassages(
  { store, embedder }: RetrieveOptions,
  owner: string,
  question: string,
  { limit, scope, signal }: SearchOptions,
): Promise<RetrievedPassage[]> {
  const embedding = await embedder.embedQuery(question, signal)
  const { name: embeddingModel, weight: vectorWeight = 1 } = embedder
  return store.passages.search(owner, { text: question, embedding, embeddingModel, vectorWeight, limit, scope })
}
