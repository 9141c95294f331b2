import type { Metadata, Store } from '@repo/db'
import type { Embedder } from '@repo/llm'

export type RetrieveOptions = { store: Store; embedder: Pick<Embedder, 'name' | 'weight' | 'embedQuery'> }
export type RetrievedPassage = Awaited<ReturnType<Store['passages']['search']>>[number]

export type Wanted = {
  limit: number
  /** Only from documents whose metadata holds all of this. */
  filter?: Metadata | undefined
  signal?: AbortSignal
}

/** The owner's best passages for a question, best first. One call of the embedder, then one statement. */
export async function retrievePassages(
  { store, embedder }: RetrieveOptions,
  owner: string,
  question: string,
  { limit, filter, signal }: Wanted,
): Promise<RetrievedPassage[]> {
  const embedding = await embedder.embedQuery(question, signal)
  const { name: embeddingModel, weight: vectorWeight = 1 } = embedder
  return store.passages.search(owner, { text: question, embedding, embeddingModel, vectorWeight, limit, filter })
}
