import { assertNoConnectionHeld } from '@repo/db'
import { createLlm, type Llm } from '@repo/llm'
import { findEmbeddingServer, type ModelConfig } from './config.ts'
import type { Tracing } from './tracing/sdk.ts'

/** The models that the environment names, behind the guard that no caller holds a database connection. */
export function createModels(config: ModelConfig, tracing?: Tracing): Llm {
  const llm = createLlm({
    baseUrl: config.OPENAI_BASE_URL,
    ...(config.OPENAI_API_KEY && { apiKey: config.OPENAI_API_KEY }),
    embeddingServer: findEmbeddingServer(config),
    ...(config.CHAT_MODEL && { chatModel: config.CHAT_MODEL }),
    ...(config.EMBEDDING_MODEL && { embeddingModel: config.EMBEDDING_MODEL }),
    ...(config.EMBEDDING_DIMENSIONS && { embeddingDimensions: config.EMBEDDING_DIMENSIONS }),
    beforeCall: assertNoConnectionHeld,
    firstByteTimeoutMs: config.MODEL_FIRST_BYTE_TIMEOUT_MS,
    idleTimeoutMs: config.MODEL_IDLE_TIMEOUT_MS,
    maxAnswerTokens: config.MAX_ANSWER_TOKENS,
    callHeaders: tracing?.headers,
  })
  return tracing ? tracing.traceModels(llm) : llm
}
