import type { Source, Store } from '@repo/db'
import type { AnswerEvent, Llm } from '@repo/llm'
import { buildPrompt, type RetrievedPassage, retrievePassages } from '@repo/rag'
import { toProblem } from '../plugins/errors.ts'
import type { Answer, Outcome } from './answer.ts'
import type { Question } from './question.ts'

export type WriteOptions = { store: Store; llm: Llm; systemPrompt?: string | undefined }

type Finish = Extract<AnswerEvent, { type: 'finish' }>

const passageCount = 6 // of at most 1,200 characters: about 2,000 tokens
const historyLimit = 50 // messages; the prompt's own budget is tighter

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
export async function writeAnswer(options: WriteOptions, answer: Answer, question: Question): Promise<Outcome> {
  try {
    return await streamAnswer(options, answer, question)
  } catch (error) {
    return toOutcome(error)
  }
}

async function streamAnswer(
  { store, llm, systemPrompt }: WriteOptions,
  answer: Answer,
  question: Question,
): Promise<Outcome> {
  const { owner, key, controller } = answer
  const { signal } = controller
  const [history, found] = await Promise.all([
    store.turns.history(owner, key.conversationId, question.questionId, historyLimit),
    retrievePassages({ store, embedder: llm.embedder }, owner, question.text, passageCount, signal),
  ])
  const passages = found.map((passage, index) => ({ n: index + 1, title: passage.heading, text: passage.text }))
  answer.sources = found.map(toSource)
  const messages = buildPrompt({ systemPrompt, passages, history, question: question.text })
  const events = await llm.chat.stream({ messages, passages, signal })
  answer.accept()
  let finish: Finish | undefined
  for await (const event of events) {
    if (event.type === 'finish') finish = event
    else answer.append(event.type === 'text-delta' ? 'text' : 'reasoning', event.text)
  }
  return { end: toEnd(finish) }
}

function toSource(passage: RetrievedPassage, index: number): Source {
  const { documentId, chunkId, title, start, end, page } = passage
  return { n: index + 1, documentId, chunkId, title, start, end, ...(page !== null && { page }) }
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
