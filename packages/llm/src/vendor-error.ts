import { isObject } from './json.ts'
import { LlmError } from './llm.ts'

/**
 * Returns the error that a vendor sent instead of an answer: `{"error": …}`, vLLM's older `{"object": "error", …}`, or
 * the data of an event named `error`.
 */
export function readVendorError(value: unknown, eventName = ''): LlmError | undefined {
  const isError = eventName === 'error' || (isObject(value) && (Boolean(value.error) || value.object === 'error'))
  if (!isError) return undefined
  const details = isObject(value) && isObject(value.error) ? value.error : value
  const labels = isObject(details) ? [String(details.code), String(details.type)] : []
  return labels.some((label) => label === '429' || label.includes('rate_limit'))
    ? new LlmError('model_rate_limited', 'the model reached its rate limit')
    : new LlmError('model_failed', 'the model reported an error')
}
