type Stored = {
  status: string
  finishReason: string | null
  model?: string | null | undefined
  inputTokens: number | null
  outputTokens: number | null
  cachedTokens: number | null
}

/** What is known of a complete answer besides its parts. `usage` is unset if the model server reports none. */
export type MessageMetadata = {
  finishReason?: string
  model?: string
  usage?: { inputTokens: number; outputTokens: number; totalTokens: number; cachedInputTokens?: number }
}

/**
 * Returns the `metadata` of a complete answer, as `useChat` has it after the stream of the same answer. Other answers end
 * without any.
 */
export function toMetadata(answer: Stored): { metadata?: MessageMetadata } {
  if (answer.status !== 'complete') return {}
  const { finishReason, model } = answer
  const usage = toUsage(answer)
  const metadata = { ...(finishReason && { finishReason }), ...(model && { model }), ...(usage && { usage }) }
  return Object.keys(metadata).length > 0 ? { metadata } : {}
}

function toUsage({ inputTokens, outputTokens, cachedTokens }: Stored): MessageMetadata['usage'] {
  if (inputTokens === null || outputTokens === null) return undefined
  const cached = cachedTokens === null ? {} : { cachedInputTokens: cachedTokens }
  return { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens, ...cached }
}
