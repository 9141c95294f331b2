import { createHttpClient } from './http-client.ts'
import type { ChatModel, Embedder, Llm } from './llm.ts'
import { createOfflineChat } from './offline/chat.ts'
import { createOfflineEmbedder } from './offline/embedder.ts'
import { createOpenAiChat } from './openai-chat.ts'
import { createOpenAiEmbedder } from './openai-embedder.ts'

export * from './llm.ts'

type ModelServer = {
  /** The vendor's root, e.g. `https://api.openai.com/v1`. */
  baseUrl: string
  apiKey?: string | undefined
}

export type LlmOptions = ModelServer & {
  /** Where the embedding model is; unset = where the chat model is. A key is never sent to the other's server. */
  embeddingServer?: ModelServer | undefined
  /** Unset = the offline model. The two are independent of each other. */
  chatModel?: string
  embeddingModel?: string
  /** Sent to the vendor as `dimensions`; unset = the model's own width. */
  embeddingDimensions?: number
  /** Called before every call of a model or embedder; throwing stops the call. The database's guard goes here. */
  beforeCall: () => void
  /** Until the first byte of a chat answer, or a whole embedding. */
  firstByteTimeoutMs: number
  /** Between two reads of a stream. */
  idleTimeoutMs: number
}

/** The one door to every model: OpenAI-compatible where a model is named, offline where not. */
export function createLlm(options: LlmOptions): Llm {
  const { baseUrl, apiKey } = options.embeddingServer ?? options
  const chatHttp = createHttpClient(options)
  const embeddingHttp = createHttpClient({ ...options, baseUrl, apiKey })
  const chat = options.chatModel ? createOpenAiChat(chatHttp, options.chatModel) : createOfflineChat()
  const embedder = options.embeddingModel
    ? createOpenAiEmbedder(embeddingHttp, options.embeddingModel, options.embeddingDimensions)
    : createOfflineEmbedder()
  return {
    chat: guardChat(chat, options.beforeCall),
    embedder: guardEmbedder(embedder, options.beforeCall),
    close: () => {
      chatHttp.close()
      embeddingHttp.close()
    },
  }
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

/** To wait for a token holds a connection as much as to open the stream does. */
function guardEvents<T>(events: AsyncIterable<T>, beforeCall: () => void): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]: () => {
      const inner = events[Symbol.asyncIterator]()
      const next = async () => {
        beforeCall()
        return inner.next()
      }
      return { next, return: async () => inner.return?.() ?? { done: true, value: undefined } }
    },
  }
}

function guardEmbedder(embedder: Embedder, beforeCall: () => void): Embedder {
  return {
    name: embedder.name,
    embed: async (texts, signal) => {
      beforeCall()
      return embedder.embed(texts, signal)
    },
  }
}
