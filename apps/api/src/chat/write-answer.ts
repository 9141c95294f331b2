import type { PastMessage, Store } from '@repo/db'
import { type AnswerEvent, type Llm, LlmError } from '@repo/llm'
import { buildPrompt, rewriteQuestion } from '@repo/rag'
import { toProblem } from '../plugins/errors.ts'
import type { Answer, Outcome } from './answer.ts'
import { type AnswerLimits, appendWithin } from './answer-limits.ts'
import { findPassages } from './find-passages.ts'

export type WriteOptions = { store: Store; llm: Llm; limits: AnswerLimits; systemPrompt?: string | undefined }

/** A stored question, and the conversation before it, newest first. */
export type OpenTurn = { question: string; history: PastMessage[] }

type Finish = Pick<Extract<AnswerEvent, { type: 'finish' }>, 'finishReason' | 'usage'>

/** Reason for aborting an answer from outside, as in its abort signal. */
export class AnswerEndedError extends Error {
  reason: 'stopped' | 'interrupted' | 'timeout'

  constructor(reason: AnswerEndedError['reason']) {
    super(`the answer was ended: ${reason}`)
    this.name = 'AnswerEndedError'
    this.reason = reason
  }
}

/**
 * Fills the answer: retrieves passages, builds the prompt and streams the model's output. No step waits for a client or
 * holds a database connection. Never rejects: every failure is an outcome.
 */
export async function writeAnswer(options: WriteOptions, answer: Answer, turn: OpenTurn): Promise<Outcome> {
  try {
    return await streamAnswer(options, answer, turn)
  } catch (error) {
    const isTooLate = isTimeUp(error) && answer.deltas === 0
    return toOutcome(isTooLate ? createTimeout() : error)
  }
}

async function streamAnswer(
  { store, llm, limits, systemPrompt }: WriteOptions,
  answer: Answer,
  { question, history }: OpenTurn,
): Promise<Outcome> {
  const { owner, controller } = answer
  const { signal } = controller
  const asked = history.flatMap(({ role, content }) => (role === 'user' ? [content] : [])).reverse()
  const searchText = rewriteQuestion([...asked, question])
  const { passages, sources } = await findPassages({ store, embedder: llm.embedder }, owner, searchText, signal)
  answer.sources = sources
  const messages = buildPrompt({ systemPrompt, passages, history, question })
  const events = await llm.chat.stream({ messages, passages, signal })
  answer.accept()
  let finish: Finish | undefined
  for await (const batch of events) {
    for (const event of batch) {
      if (event.type === 'finish') finish = event
      else if (!appendWithin(limits, answer, event.type === 'text-delta' ? 'text' : 'reasoning', event.text))
        return { end: toEnd({ finishReason: 'length' }) } // leaving the loop cancels the model call
    }
    if (answer.backlog.isFull()) await answer.backlog.untilRoom()
  }
  return { end: toEnd(finish) }
}

function toEnd(finish: Finish | undefined): Outcome['end'] {
  return {
    status: 'complete',
    finishReason: finish?.finishReason ?? 'other',
    inputTokens: finish?.usage?.inputTokens ?? null,
    outputTokens: finish?.usage?.outputTokens ?? null,
    error: null,
  }
}

/** Returns the outcome of an answer that ended with this error. */
export function toOutcome(error: unknown): Outcome {
  const nothing = { finishReason: null, inputTokens: null, outputTokens: null }
  const reason = error instanceof AnswerEndedError ? error.reason : undefined
  if (reason === 'timeout') return { end: toEnd({ finishReason: 'length' }) }
  if (reason) return { end: { ...nothing, status: reason, error: null } }
  return { end: { ...nothing, status: 'failed', error: toProblem(error).message }, failure: error }
}

/** Returns whether an answer was ended because its time was up. */
export function isTimeUp(error: unknown): boolean {
  return error instanceof AnswerEndedError && error.reason === 'timeout'
}

/** Returns the error of an answer whose time was up before it had any text. */
export function createTimeout(): LlmError {
  return new LlmError('model_timeout', 'the model did not answer in time')
}
