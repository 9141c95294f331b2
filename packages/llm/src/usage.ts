import { isObject } from './json.ts'
import type { Usage } from './llm.ts'

const largestCount = 2 ** 31 - 1 // of Postgres' integer

/**
 * Returns the token usage that a model server reported, or undefined. `chunk` is a completion or the last chunk of a
 * stream.
 */
export function readUsage({ usage, timings }: Record<string, unknown>): Usage | undefined {
  if (!isObject(usage)) return undefined
  const inputTokens = readCount(usage.prompt_tokens)
  const outputTokens = readCount(usage.completion_tokens)
  if (inputTokens === undefined || outputTokens === undefined) return undefined
  const cachedInputTokens = readCached(usage, timings)
  const details = isObject(usage.completion_tokens_details) ? usage.completion_tokens_details : {}
  const reasoningTokens = readCount(details.reasoning_tokens)
  return {
    inputTokens,
    outputTokens,
    ...(cachedInputTokens !== undefined && { cachedInputTokens }),
    ...(reasoningTokens !== undefined && { reasoningTokens }),
  }
}

const inputTokens = /"(?:prompt|total)_tokens"\s*:\s*(\d+)/

/**
 * Returns the usage in a response of an embedding model or a reranker, or undefined. It is cut out of the text, because
 * parsing a vector takes as long as a query.
 */
export function readInputUsage(body: string): Usage | undefined {
  const start = body.lastIndexOf('"usage"')
  const count = start === -1 ? undefined : readCount(Number(inputTokens.exec(body.slice(start))?.[1]))
  return count === undefined ? undefined : { inputTokens: count, outputTokens: 0 }
}

const bytesPerToken = 4 // English has about four letters per token, Russian two, each of two bytes

/** Estimates the tokens of texts, for servers that report none. */
export function estimateTokens(texts: string[]): number {
  return toTokens(texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0))
}

/** Estimates the tokens of a text of this many bytes in UTF-8. */
export function toTokens(bytes: number): number {
  return Math.ceil(bytes / bytesPerToken)
}

/** Vendors disagree about the field. All of them count the cached tokens in `prompt_tokens` too. */
function readCached(usage: Record<string, unknown>, timings: unknown): number | undefined {
  const details = isObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : {}
  return (
    readCount(details.cached_tokens) ?? // OpenAI, Azure, Gemini, Groq, OpenRouter, and vLLM and SGLang with an option
    readCount(usage.prompt_cache_hit_tokens) ?? // DeepSeek
    readCount(usage.cached_tokens) ?? // Moonshot, Together
    readCount(usage.cache_read_input_tokens) ?? // proxies for Anthropic's models
    (isObject(timings) ? readCount(timings.cache_n) : undefined) // llama.cpp before it had `prompt_tokens_details`
  )
}

function readCount(value: unknown): number | undefined {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= largestCount ? Number(value) : undefined
}
