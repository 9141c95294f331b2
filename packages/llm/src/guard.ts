import type { ChatModel, Embedder, Reranker } from './llm.ts'
import type { CompletionModel, EmbeddingModel } from './openai-api.ts'

// Each of these calls `beforeCall` before its model. An error that it throws prevents the call.

export function guardChat(model: ChatModel, beforeCall: () => void): ChatModel {
  return {
    ...model,
    stream: async (request) => {
      beforeCall()
      return guardEvents(await model.stream(request), beforeCall)
    },
  }
}

export function guardCompletions(model: CompletionModel, beforeCall: () => void): CompletionModel {
  return {
    ...model,
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

export function guardEmbeddings(model: EmbeddingModel, beforeCall: () => void): EmbeddingModel {
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

export function guardEmbedder(embedder: Embedder, beforeCall: () => void): Embedder {
  return {
    ...embedder,
    embed: async (...args) => {
      beforeCall()
      return embedder.embed(...args)
    },
    embedQuery: async (...args) => {
      beforeCall()
      return embedder.embedQuery(...args)
    },
  }
}

export function guardReranker(reranker: Reranker, beforeCall: () => void): Reranker {
  return {
    ...reranker,
    rerank: async (...args) => {
      beforeCall()
      return reranker.rerank(...args)
    },
  }
}
