import type { Store } from '@repo/db'
import type { Embedder } from '@repo/llm'

export type RetrieveOptions = { store: Store; embedder: Embedder }
export type RetrievedPassage = Awaited<ReturnType<Store['passages']['search']>>[number]

/** The owner's best passages for a question, best first. One call of the embedder, then one statement. */
export async function retrievePassages(
  { store, embedder }: RetrieveOptions,
  owner: string,
  question: string,
  limit: number,
  signal?: AbortSignal,
): Promise<RetrievedPassage[]> {
  const [embedding] = await embedder.embed([question], signal)
  if (!embedding) return []
  return store.passages.search(owner, { text: question, embedding, embeddingModel: embedder.name, limit })
}
