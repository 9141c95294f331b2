import { type FinishReason, LlmError } from './llm.ts'

/** OpenAI's terms, and those of other vendors for the same in lower case. */
const terms = {
  stop: ['end_turn', 'stop_sequence', 'eos', 'eos_token', 'complete', 'completed'],
  length: ['max_tokens', 'max_output_tokens', 'model_length', 'model_context_window_exceeded'], // Mistral: the context is full
  content_filter: [
    ...['content_filtered', 'refusal', 'sensitive', 'guardrail_intervened'],
    ...['safety', 'recitation', 'blocklist', 'prohibited_content', 'spii'], // Gemini
  ],
  tool_calls: ['tool_use'],
  function_call: [],
}
const openAiTerms = new Map(
  Object.entries(terms).flatMap(([term, others]) => [term, ...others].map((word) => [word, term] as const)),
)

/** OpenRouter, DeepSeek and vLLM end an answer this way when it failed on their side. */
const failures = ['error', 'insufficient_system_resource', 'abort']

/**
 * Returns why a model ended its answer in OpenAI's terms, or undefined if it has not: some servers send an empty string
 * or "null" with every chunk. A term that is not known is returned unchanged. Throws an `LlmError` (`model_failed`) if
 * the server aborted the answer.
 */
export function readFinishReason(value: unknown): string | undefined {
  const word = typeof value === 'string' ? value.trim().toLowerCase() : ''
  if (['', 'null', 'none'].includes(word)) return undefined
  if (failures.includes(word)) throw new LlmError('model_failed', 'the model aborted its answer')
  return openAiTerms.get(word) ?? String(value)
}

const finishReasons = new Map<string, FinishReason>([
  ['stop', 'stop'],
  ['length', 'length'],
  ['content_filter', 'content-filter'],
  ['tool_calls', 'tool-calls'],
  ['function_call', 'tool-calls'],
])

/** Converts a reason in any vendor's terms to ours. */
export function toFinishReason(reason: string): FinishReason {
  const word = reason.trim().toLowerCase()
  return finishReasons.get(openAiTerms.get(word) ?? word) ?? 'other'
}
