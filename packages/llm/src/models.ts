import type { ChatModel, Embedder, Reranker } from './llm.ts'
import type { CompletionModel, EmbeddingModel } from './openai-api.ts'

/** A chat model and an embedder, each also with the interface that clients of OpenAI's API expect. */
export type Models = {
  chat: ChatModel
  embedder: Embedder
  completions: CompletionModel
  embeddings: EmbeddingModel
}

/** `chat` and `completions` are the default chat model. */
export type Llm = Models & {
  /** All chat models by the name that clients send, the default one first. */
  chatModels: ReadonlyMap<string, ChatModel>
  completionModels: ReadonlyMap<string, CompletionModel>
  /** Undefined if none is configured: passages then keep the order of the search. */
  reranker?: Reranker | undefined
  /** Returns one sentence per configured model that its server does not list. */
  findUnlistedModels: (signal: AbortSignal) => Promise<string[]>
  /** Closes idle sockets to the model servers. */
  close: () => void
}

/** Returns models without a choice: the chat model is the only one. */
export function toLlm(models: Models, close = () => {}): Llm {
  return {
    ...models,
    chatModels: new Map([[models.chat.name, models.chat]]),
    completionModels: new Map([[models.completions.name, models.completions]]),
    findUnlistedModels: async () => [],
    close,
  }
}
