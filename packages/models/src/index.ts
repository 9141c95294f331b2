import { findEmbeddingServer, findProxies, findReranker, type ModelConfig } from '@repo/config'
import { assertNoConnectionHeld } from '@repo/db'
import { createLlm, type Llm, type Models } from '@repo/llm'
import { createOfflineModels } from '@repo/offline'
import type { Tracing } from '@repo/telemetry'

type ModelOptions = {
  tracing?: Tracing | undefined
  /** The models to use when the environment names none. */
  fallback?: Models
}

/**
 * Returns the configured models. Each call throws `ConnectionHeldError` if the caller holds a database connection.
 */
export function createModels(
  config: ModelConfig,
  { tracing, fallback = createOfflineModels() }: ModelOptions = {},
): Llm {
  const llm = createLlm({
    baseUrl: config.OPENAI_BASE_URL,
    ...(config.OPENAI_API_KEY && { apiKey: config.OPENAI_API_KEY }),
    embeddingServer: findEmbeddingServer(config),
    ...(config.CHAT_MODEL && { chatModel: config.CHAT_MODEL }),
    chatModels: config.chatModels,
    ...(config.EMBEDDING_MODEL && { embeddingModel: config.EMBEDDING_MODEL }),
    ...(config.EMBEDDING_DIMENSIONS && { embeddingDimensions: config.EMBEDDING_DIMENSIONS }),
    embeddingPrefixes: { query: config.EMBEDDING_QUERY_PREFIX, document: config.EMBEDDING_DOCUMENT_PREFIX },
    reranker: findReranker(config),
    fallback,
    beforeCall: assertNoConnectionHeld,
    firstByteTimeoutMs: config.MODEL_FIRST_BYTE_TIMEOUT_MS,
    idleTimeoutMs: config.MODEL_IDLE_TIMEOUT_MS,
    maxAnswerTokens: config.MAX_ANSWER_TOKENS,
    callHeaders: tracing?.headers,
    proxies: findProxies(config),
  })
  return tracing ? tracing.traceModels(llm) : llm
}
