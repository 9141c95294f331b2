import type { Scope, Store } from '@repo/db'
import { type Embedder, LlmError } from '@repo/llm'

export type RetrieveOptions = {
  store: Store
  embedder: Pick<Embedder, 'name' | 'weight' | 'embedQuery'>
  /** Called when the embedder fails or is slow. The question is then searched by keyword only. Unset: the search fails. */
  onFailure?: (failure: RetrievalFailure) => void
}

/** A model that a search went on without. */
export type RetrievalFailure = { stage: 'embedder'; model: string; error: LlmError }
export type RetrievedPassage = Awaited<ReturnType<Store['passages']['search']>>[number]

export type SearchOptions = {
  limit: number
  /** The documents to search. Default: all. */
  scope?: Scope | undefined
  signal?: AbortSignal
}

/**
 * Embedders usually take 10 to 500 ms. After 3 s a search by keyword is the better answer: a chat sends its headers after
 * 5 s. `MODEL_FIRST_BYTE_TIMEOUT_MS` ends the call earlier if it is shorter.
 */
const embedTimeoutMs = 3000

/**
 * Returns the owner's best passages for a question, best first. Makes one embedder call, then runs one SQL statement.
 * Throws the embedder's `LlmError` without `onFailure`, and the reason of an aborted `signal`.
 */
export async function retrievePassages(
  options: RetrieveOptions,
  owner: string,
  question: string,
  { limit, scope, signal }: SearchOptions,
): Promise<RetrievedPassage[]> {
  const { store, embedder } = options
  const embedding = await embedQuestion(options, question, signal)
  const { name: embeddingModel, weight: vectorWeight = 1 } = embedder
  return store.passages.search(owner, { text: question, embedding, embeddingModel, vectorWeight, limit, scope })
}

/** Returns the question's vector, or null if the embedder has failed and `onFailure` was called. */
async function embedQuestion({ embedder, onFailure }: RetrieveOptions, question: string, signal?: AbortSignal) {
  if (!onFailure) return embedder.embedQuery(question, signal)
  const late = AbortSignal.timeout(embedTimeoutMs)
  try {
    return await embedder.embedQuery(question, signal ? AbortSignal.any([signal, late]) : late)
  } catch (reason) {
    signal?.throwIfAborted()
    const isLate = reason === late.reason
    const error = isLate ? new LlmError('model_timeout', 'the embedding model did not answer in time') : reason
    if (!(error instanceof LlmError)) throw error
    onFailure({ stage: 'embedder', model: embedder.name, error })
    return null
  }
}
