import { toFinishReason } from './finish-reason.ts'
import { isObject, parseJson } from './json.ts'
import type { FinishReason } from './llm.ts'
import { type ResponseInfo, readResponseInfo } from './response-info.ts'

type CompletionEnd = { finishReasons: FinishReason[]; response?: ResponseInfo }

// Quotes inside a text are escaped, so no text can be mistaken for this key.
const endsChoice = /"finish_reason"\s*:\s*"/

/** Returns how the choices of a completion ended. */
export function readCompletionEnd(completion: Record<string, unknown>): CompletionEnd {
  const choices: unknown[] = Array.isArray(completion.choices) ? completion.choices : []
  const reasons = choices.flatMap((choice) => (isObject(choice) ? choice.finish_reason : []))
  const response = readResponseInfo(completion)
  return {
    finishReasons: reasons.flatMap((reason) => (typeof reason === 'string' && reason ? toFinishReason(reason) : [])),
    ...(response && { response }),
  }
}

/** Returns the same for a chunk, or undefined if it ends no choice. Other chunks are not parsed. */
export function readChunkEnd(json: string): CompletionEnd | undefined {
  const chunk = endsChoice.test(json) ? parseJson(json) : undefined
  return isObject(chunk) ? readCompletionEnd(chunk) : undefined
}
