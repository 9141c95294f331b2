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
    ...toTokens(finish?.usage),
    error: null,
  }
}

function toTokens(usage: Usage | undefined) {
  return {
    inputTokens: usage?.inputTokens ?? null,
    outputTokens: usage?.outputTokens ?? null,
    cachedTokens: usage?.cachedInputTokens ?? null,
  }
}

/** Returns the known tokens of several model calls, or undefined if none are known. A call that is cut off reports none. */
export function addUsages(usages: Finish['usage'][]): Finish['usage'] {
  return usages.reduce((sum, usage) => (sum && usage ? addUsage(sum, usage) : (sum ?? usage)), undefined)
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

/** Returns the outcome of an answer that ended with this error, after model calls with this usage. */
export function toOutcome(error: unknown, usage?: Usage): Outcome {
  const rest = { finishReason: null, ...toTokens(usage) }
  const reason = error instanceof AnswerEndedError ? error.reason : undefined
  if (reason === 'timeout') return { end: toEnd({ finishReason: 'length', usage }) }
  if (reason) return { end: { ...rest, status: reason, error: null } }
  return { end: { ...rest, status: 'failed', error: toProblem(error).message }, failure: error }
}

/** Returns whether an answer was ended by its time limit. */
export function isTimeUp(error: unknown): boolean {
  return error instanceof AnswerEndedError && error.reason === 'timeout'
}

/** Returns the error of an answer whose time limit ended it before it had any text. */
export function createTimeoutError(): LlmError {
  return new LlmError('model_timeout', 'the model did not answer in time')
}
