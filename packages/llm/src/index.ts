import { createHttpClient, type HttpClient } from './http/http-client.ts'
import type { ChatModel, Embedder } from './llm.ts'
import type { Llm, Models } from './models.ts'
import type { CompletionModel, EmbeddingModel } from './openai-api.ts'
import { createOpenAiChat } from './openai-chat.ts'
import { createOpenAiCompletions } from './openai-completions.ts'
import { createOpenAiEmbedder } from './openai-embedder.ts'
import { createOpenAiEmbeddings } from './openai-embeddings.ts'
import { toTokenLimit } from './token-limit.ts'

export { takeTurn } from './http/turns.ts'
export { listJsonParts } from './http/write-json.ts'
export * from './llm.ts'
export { measureChunk } from './measure-chunk.ts'
export type { Llm, Models } from './models.ts'
export {
  asksForUsage,
  type CompletionBody,
  type CompletionMessage,
  type CompletionModel,
  type CompletionRequest,
  type EmbeddingList,
  type EmbeddingModel,
  readMessageText,
  UnsupportedParameterError,
} from './openai-api.ts'
export { readUsage } from './usage.ts'

type ModelServer = {
  /** The base URL of the model server, e.g. `https://api.openai.com/v1`. */
  baseUrl: string
  apiKey?: string | undefined
}

export type LlmOptions = ModelServer & {
  /** The embedding model's server. Unset: the chat model's server. A key is never sent to the other server. */
  embeddingServer?: ModelServer | undefined
  /** Unset: the fallback's model. Chat and embedding models are independent of each other. */
  chatModel?: string
  embeddingModel?: string
  /** The models to use when none is named. */
  fallback?: Models
  /** Sent to the vendor as `dimensions`. Unset: the model's default width. */
  embeddingDimensions?: number
  /**
   * Called before every model or embedder call. An error that it throws prevents the call; the database uses this as a
   * guard.
   */
  beforeCall: () => void
  /** Deadline for the first byte of a chat answer, or for a whole embedding response. */
  firstByteTimeoutMs: number
  /** Deadline between two reads of a stream. */
  idleTimeoutMs: number
  /** The token limit per answer, sent to the chat model's server. Unset: no limit is sent. */
  maxAnswerTokens?: number
  /** Returns the headers of one call, for example its trace context. Called once per call. */
  callHeaders?: (() => Record<string, string>) | undefined
}

/** Returns an OpenAI-compatible model if one is named, otherwise the fallback's. Throws if there is neither. */
export function createLlm(options: LlmOptions): Llm {
  const { baseUrl, apiKey } = options.embeddingServer ?? options
  const chatHttp = createHttpClient(options)
  const embeddingHttp = createHttpClient({ ...options, baseUrl, apiKey })
  const { chat, completions } = chooseChat(options, chatHttp)
  const { embedder, embeddings } = chooseEmbedder(options, embeddingHttp)
  const { beforeCall } = options
  return {
    chat: guardChat(chat, beforeCall),
    embedder: guardEmbedder(embedder, beforeCall),
    completions: guardCompletions(completions, beforeCall),
    embeddings: guardEmbeddings(embeddings, beforeCall),
    close: () => {
      chatHttp.close()
      embeddingHttp.close()
    },
  }
}

function chooseChat(
  { chatModel: name, fallback, baseUrl, maxAnswerTokens }: LlmOptions,
  http: HttpClient,
): Pick<Models, 'chat' | 'completions'> {
  const limit = maxAnswerTokens ? toTokenLimit(baseUrl, maxAnswerTokens) : undefined
  if (name)
    return { chat: createOpenAiChat(http, name, limit), completions: createOpenAiCompletions(http, name, limit) }
  if (fallback) return fallback
  throw new Error('No chat model is configured. Set CHAT_MODEL, and OPENAI_BASE_URL or OPENAI_API_KEY.')
}

function chooseEmbedder(
  { embeddingModel: name, embeddingDimensions: dimensions, fallback }: LlmOptions,
  http: HttpClient,
): Pick<Models, 'embedder' | 'embeddings'> {
  if (name) {
    return {
      embedder: createOpenAiEmbedder(http, name, dimensions),
      embeddings: createOpenAiEmbeddings(http, name, dimensions),
    }
  }
  if (fallback) return fallback
  throw new Error('No embedding model is configured. Set EMBEDDING_MODEL, and EMBEDDING_BASE_URL if it runs elsewhere.')
}

function guardChat(model: ChatModel, beforeCall: () => void): ChatModel {
  return {
    name: model.name,
    stream: async (request) => {
      beforeCall()
      return guardEvents(await model.stream(request), beforeCall)
    },
  }
}

function guardCompletions(model: CompletionModel, beforeCall: () => void): CompletionModel {
  return {
    name: model.name,
    complete: async (request) => {
      beforeCall()
      return model.complete(request)
    },
    stream: async (request) => {
      beforeCall()
      return guardEvents(await model.stream(request), beforeCall)
    },
  }
}

function guardEmbeddings(model: EmbeddingModel, beforeCall: () => void): EmbeddingModel {
  return {
    name: model.name,
    create: async (body, signal) => {
      beforeCall()
      return model.create(body, signal)
    },
  }
}

/** Checks each `next` too: inside a transaction, waiting for a token also holds the connection. */
function guardEvents<T>(events: AsyncIterable<T>, beforeCall: () => void): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]: () => {
      const inner = events[Symbol.asyncIterator]()
      const next = () => {
        beforeCall()
        return inner.next()
      }
      return { next, return: async () => inner.return?.() ?? { done: true, value: undefined } }
    },
  }
}

function guardEmbedder(embedder: Embedder, beforeCall: () => void): Embedder {
  return {
    ...embedder,
    embed: async (texts, signal) => {
      beforeCall()
      return embedder.embed(texts, signal)
    },
    embedQuery: async (text, signal) => {
      beforeCall()
      return embedder.embedQuery(text, signal)
    },
  }
}
