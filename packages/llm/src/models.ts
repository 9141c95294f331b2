import type { ChatModel, Embedder } from './llm.ts'
import type { CompletionModel, EmbeddingModel } from './openai-api.ts'

/** A chat model and an embedder, each also with the interface that clients of OpenAI's API expect. */
export type Models = {
  chat: ChatModel
  embedder: Embedder
  completions: CompletionModel
  embeddings: EmbeddingModel
}

export type Llm = Models & {
  /** Closes idle sockets to the model servers. */
  close: () => void
}
