import type { PastMessage, Store } from '@repo/db'
import type { AnswerEvent, Llm } from '@repo/llm'
import { buildPrompt, rewriteQuestion } from '@repo/rag'
import { toProblem } from '../plugins/errors.ts'
import type { Answer, Outcome } from './answer.ts'
import { findPassages } from './find-passages.ts'

export type WriteOptions = { store: Store; llm: Llm; systemPrompt?: string | undefined }

/** A question that is stored, and what was said before it, newest first. */
export type OpenTurn = { question: string; history: PastMessage[] }

type Finish = Extract<AnswerEvent, { type: 'finish' }>

/** Why an answer was ended from outside: the reason of its abort signal. */
export class AnswerEndedError extends Error {
  status: 'stopped' | 'interrupted'

  constructor(status: AnswerEndedError['status']) {
    super(`the answer was ${status}`)
    this.name = 'AnswerEndedError'
    this.status = status
  }
}

/**
 * Retrieve, prompt, stream: fills the answer. No step waits for a client or holds a database connection.
 * Never rejects; every failure is an outcome.
 */
export async function writeAnswer(options: WriteOptions, answer: Answer, turn: OpenTurn): Promise<Outcome> {
  try {
    return await streamAnswer(options, answer, turn)
  } catch (error) {
    return toOutcome(error)
  }
}

async function streamAnswer(
  { store, llm, systemPrompt }: WriteOptions,
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
      else answer.append(event.type === 'text-delta' ? 'text' : 'reasoning', event.text)
    }
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

/** How an answer ends that an error ended. */
export function toOutcome(error: unknown): Outcome {
  const nothing = { finishReason: null, inputTokens: null, outputTokens: null }
  if (error instanceof AnswerEndedError) return { end: { ...nothing, status: error.status, error: null } }
  return { end: { ...nothing, status: 'failed', error: toProblem(error).message }, failure: error }
}
