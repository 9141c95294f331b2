import { LlmError } from './llm.ts'

export type TokenLimit = { name: 'max_tokens' | 'max_completion_tokens'; tokens: number }

/**
 * Returns the limit under the parameter name of a server. OpenAI and Azure reject `max_tokens` for reasoning models.
 * Other servers support that name, and some of them no other.
 */
export function toTokenLimit(baseUrl: string, tokens: number): TokenLimit {
  const isOpenAi = /(^|\.)(openai|azure)\.com$/.test(new URL(baseUrl).hostname)
  return { name: isOpenAi ? 'max_completion_tokens' : 'max_tokens', tokens }
}

/** Returns whether a server rejected a request, perhaps because a parameter is unknown or too large. */
export function isRefusal(error: unknown): boolean {
  return error instanceof LlmError && (error.status === 400 || error.status === 422)
}

/**
 * Returns the limits that a client's body sets, lowered to ours, or undefined if it sets none. `max_output_tokens` is sent
 * under the server's name.
 */
export function lowerTokenLimits(
  body: Record<string, unknown>,
  { name: ownName, tokens }: TokenLimit,
): Record<string, number | undefined> | undefined {
  const own = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'].flatMap((name) => {
    const value = body[name]
    if (typeof value !== 'number') return []
    const lowered = Math.min(value, tokens)
    return name === 'max_output_tokens' ? [[name], [ownName, lowered]] : [[name, lowered]]
  })
  return own.length > 0 ? Object.fromEntries(own) : undefined
}
