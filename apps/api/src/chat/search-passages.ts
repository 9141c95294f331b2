import type { ModelCall, Store, UsageRecorder } from '@repo/db'
import { type Llm, type LlmError, meterEmbedder, meterReranker } from '@repo/llm'
import { type RetrievalFailure, type RetrievedPassage, retrievePassages, type SearchOptions } from '@repo/rag'
import { describeError, type TraceWork } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import { z } from 'zod'

export const Degraded = z.literal('keywords_only').meta({
  description: 'The embedding model failed or was slow, so the passages were found by keyword only',
})
export type Degraded = z.output<typeof Degraded>

/** `degraded` is unset if the search was complete. */
type Found = { passages: RetrievedPassage[]; degraded?: Degraded }

/** `keyId`: the API key whose budget pays for the calls of models. */
type Options = SearchOptions & { keyId?: string | undefined }

export type SearchPassages = (owner: string, question: string, options: Options) => Promise<Found>

const outcomes: Record<RetrievalFailure['stage'], string> = {
  embedder: 'the embedding model failed, so a question was searched by keyword only',
  reranker: 'the reranker failed, so passages kept the order of the search',
}

/** After an embedder was late. Then one question or a few wait for it again. */
const pauseMs = 10_000

type Dependencies = {
  store: Store
  usage: Pick<UsageRecorder, 'count'>
  llm: Pick<Llm, 'embedder' | 'reranker'>
  log: FastifyBaseLogger
  countFailure: (stage: RetrievalFailure['stage']) => void
  trace: TraceWork
}

/**
 * Returns the search behind `/search`, `/chat`, `/v1/chat/completions` and tools: the owner's best passages for a
 * question, best first. It goes on without an embedding model or a reranker that fails, and counts and logs that. Throws
 * the reason of an aborted signal.
 */
export function createSearch({ store, llm, usage, log, countFailure, trace }: Dependencies): SearchPassages {
  const { embedQuery, pause } = createPause(llm.embedder)
  const report = ({ stage, model, error }: RetrievalFailure) => {
    countFailure(stage)
    log.warn({ [stage]: model, error: describeError(error) }, outcomes[stage])
    if (stage === 'embedder' && error.code === 'model_timeout') pause(error)
  }
  return async (owner, question, options) => {
    const found: Pick<Found, 'degraded'> = {}
    const onFailure = (failure: RetrievalFailure) => {
      report(failure)
      if (failure.stage === 'embedder') found.degraded = 'keywords_only'
    }
    const count = (kind: ModelCall['kind']) => (call: Omit<ModelCall, 'kind'>) =>
      usage.count(owner, options.keyId, { kind, ...call })
    const embedder = meterEmbedder({ ...llm.embedder, embedQuery }, count('embedding'))
    const reranker = llm.reranker && meterReranker(llm.reranker, count('rerank'))
    const retrieve = () => retrievePassages({ store, embedder, reranker, onFailure }, owner, question, options)
    const passages = await trace('retrieval', 'documents', retrieve, question)
    return { ...found, passages }
  }
}

/** Returns a search whose calls of models count for an API key. */
export function withKey(searchPassages: SearchPassages, keyId: string | undefined): SearchPassages {
  return (owner, question, options) => searchPassages(owner, question, { keyId, ...options })
}

/** Lets calls of an embedder fail at once for a while, so that not every question waits for one that is stuck. */
function createPause(embedder: Llm['embedder']) {
  let late: { error: LlmError; until: number } | undefined
  const isPaused = () => late !== undefined && performance.now() < late.until
  const embedQuery: typeof embedder.embedQuery = async (...args) => {
    if (late && isPaused()) throw late.error
    return embedder.embedQuery(...args)
  }
  const pause = (error: LlmError) => {
    if (!isPaused()) late = { error, until: performance.now() + pauseMs } // else each question would prolong it
  }
  return { embedQuery, pause }
}
