import type { Models } from '@repo/llm'
import { createOfflineChat } from './chat.ts'
import { createOfflineCompletions } from './completions.ts'
import { createOfflineEmbedder } from './embedder.ts'
import { createOfflineEmbeddings } from './embeddings.ts'

/** The models that need no key and no network, to be passed to `createLlm` as its `fallback`. */
export function createOfflineModels(): Models {
  const embedder = createOfflineEmbedder()
  return {
    chat: createOfflineChat(),
    completions: createOfflineCompletions(),
    embedder,
    embeddings: createOfflineEmbeddings(embedder),
  }
}
