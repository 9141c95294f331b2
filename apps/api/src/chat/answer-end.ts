import { type FinishReason, LlmError, type Usage } from '@repo/llm'
import { toProblem } from '../plugins/errors.ts'
import type { Outcome } from './answer.ts'

export type Finish = { finishReason: FinishReason; usage?: Usage | undefined }

/** The abort reason of an answer that was ended by a stop request, a shutdown or its time limit. */
export class AnswerEndedError extends Error {
  reason: 'stopped' | 'interrupted' | 'timeout'

  constructor(reason: AnswerEndedError['reason']) {
    super(`the answer was ended: ${reason}`)
    this.name = 'AnswerEndedError'
    this.reason = reason
  }
}

/** Returns the end of an answer that the model has completed. `finish` is undefined if the model sent none. */
export function toEnd(finish: Finish | undefined): Outcome['end'] {
  return {
    status: 'complete',
    finishReason: finish?.finishReason ?? 'other',
    inputTokens: finish?.usage?.inputTokens ?? null,
    outputTokens: finish?.usage?.outputTokens ?? null,
    cachedTokens: finish?.usage?.cachedInputTokens ?? null,
    error: null,
  }
}

/** Returns the tokens of several model calls, or undefined if one of them is unknown. */
export function addUsages([first, ...others]: Finish['usage'][]): Finish['usage'] {
  return others.reduce((sum, usage) => sum && usage && addUsage(sum, usage), first)
}

function addUsage(a: Usage, b: Usage): Usage {
  const cachedInputTokens = (a.cachedInputTokens ?? 0) + (b.cachedInputTokens ?? 0)
  const isCounted = a.cachedInputTokens !== undefined || b.cachedInputTokens !== undefined
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    ...(isCounted && { cachedInputTokens }),
  }
}

/** Returns the outcome of an answer that ended with this error. */
export function toOutcome(error: unknown): Outcome {
  const nothing = { finishReason: null, inputTokens: null, outputTokens: null, cachedTokens: null }
  const reason = error instanceof AnswerEndedError ? error.reason : undefined
  if (reason === 'timeout') return { end: toEnd({ finishReason: 'length' }) }
  if (reason) return { end: { ...nothing, status: reason, error: null } }
  return { end: { ...nothing, status: 'failed', error: toProblem(error).message }, failure: error }
}

/** Returns whether an answer was ended by its time limit. */
export function isTimeUp(error: unknown): boolean {
  return error instanceof AnswerEndedError && error.reason === 'timeout'
}

/** Returns the error of an answer whose time limit ended it before it had any text. */
export function createTimeoutError(): LlmError {
  return new LlmError('model_timeout', 'the model did not answer in time')
}
