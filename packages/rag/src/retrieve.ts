import type { Scope, Store } from '@repo/db'
import { type Embedder, LlmError, type Reranker } from '@repo/llm'
import { candidateCount, rerankPassages } from './rerank.ts'

export type RetrieveOptions = {
  store: Store
  embedder: Pick<Embedder, 'name' | 'weight' | 'embedQuery'>
  /** Orders the passages. Unset: they keep the order of the search. */
  reranker?: Reranker | undefined
  /**
   * Called when a model fails or is slow. Without the embedder, the question is searched by keyword only. Without the
   * reranker, passages keep the order of the search. Unset: the failure is thrown.
   */
  onFailure?: (failure: RetrievalFailure) => void
}

/** A model that a search went on without. */
export type RetrievalFailure = { stage: 'embedder' | 'reranker'; model: string; error: LlmError }
export type RetrievedPassage = Awaited<ReturnType<Store['passages']['search']>>[number]

export type SearchOptions = {
  limit: number
  /** The documents to search. Default: all. */
  scope?: Scope | undefined
  /** The organization whose shared documents are searched too. */
  organization?: string | undefined
  signal?: AbortSignal | undefined
}

/**
 * Embedders usually take 10 to 500 ms. After 3 s a search by keyword is the better answer: a chat sends its headers after
 * 5 s. `MODEL_FIRST_BYTE_TIMEOUT_MS` ends the call earlier if it is shorter.
 */
const embedTimeoutMs = 3000

/**
 * Returns the owner's best passages for a question, best first. Calls the embedder, runs one SQL statement, then calls the
 * reranker if there is one. Throws their `LlmError` without `onFailure`, and the reason of an aborted `signal`.
 */
export async function retrievePassages(
  options: RetrieveOptions,
  owner: string,
  question: string,
  { limit, scope, organization, signal }: SearchOptions,
): Promise<RetrievedPassage[]> {
  const { store, embedder, reranker } = options
  const embedding = await embedQuestion(options, question, signal)
  const { name: embeddingModel, weight: vectorWeight = 1 } = embedder
  const search = { text: question, embedding, embeddingModel, vectorWeight, scope, organization }
  const count = reranker ? Math.max(limit, candidateCount) : limit
  const found = await store.passages.search(owner, { ...search, limit: count })
  return orderPassages(options, question, found, { limit, signal })
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

/** Returns the best passages in the reranker's order, or in the given one if there is no reranker or it has failed. */
async function orderPassages(
  { reranker, onFailure }: RetrieveOptions,
  question: string,
  found: RetrievedPassage[],
  { limit, signal }: Pick<SearchOptions, 'limit' | 'signal'>,
): Promise<RetrievedPassage[]> {
  if (!reranker || found.length <= 1) return found.slice(0, limit)
  try {
    return await rerankPassages(reranker, question, found, { limit, signal })
  } catch (error) {
    signal?.throwIfAborted()
    if (!onFailure || !(error instanceof LlmError)) throw error
    onFailure({ stage: 'reranker', model: reranker.name, error })
    return found.slice(0, limit)
  }
}
