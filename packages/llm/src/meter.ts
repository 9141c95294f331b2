import type { Embedder, OnUsage, Reranker, Usage } from './llm.ts'
import { estimateTokens } from './usage.ts'

/** Receives what one call used. `isEstimated`: the model server did not report it. */
export type OnCall = (call: { model: string; usage: Usage; isEstimated: boolean }) => void

/** Returns the same embedder, and reports its calls to `onCall`. */
export function meterEmbedder(embedder: Embedder, onCall: OnCall): Embedder {
  const { name, model = name } = embedder
  return {
    ...embedder,
    embed: (texts, signal) => meter(model, onCall, texts, (onUsage) => embedder.embed(texts, signal, onUsage)),
    embedQuery: (text, signal) => meter(model, onCall, [text], (onUsage) => embedder.embedQuery(text, signal, onUsage)),
  }
}

/** Returns the same reranker, and reports its calls to `onCall`. */
export function meterReranker(reranker: Reranker, onCall: OnCall): Reranker {
  return {
    ...reranker,
    rerank: (question, texts, limit, signal) => {
      const read = texts.flatMap((text) => [question, text]) // rerankers read the question with each text
      return meter(reranker.name, onCall, read, (onUsage) => reranker.rerank(question, texts, limit, signal, onUsage))
    },
  }
}

/** Reports each usage that `call` reports. If it reports none, its usage is estimated when it has succeeded. */
async function meter<T>(
  model: string,
  onCall: OnCall,
  texts: string[],
  call: (onUsage: OnUsage) => Promise<T>,
): Promise<T> {
  let isReported = false
  const result = await call((usage) => {
    isReported = true
    onCall({ model, usage, isEstimated: false })
  })
  const usage = { inputTokens: estimateTokens(texts), outputTokens: 0 }
  if (!isReported && texts.length > 0) onCall({ model, usage, isEstimated: true })
  return result
}
