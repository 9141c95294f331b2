import type { PastMessage, Store } from '@repo/db'
import { type ChatModel, type Fallback, type Llm, streamWithFallback } from '@repo/llm'
import { buildPrompt, rewriteQuestion } from '@repo/rag'
import type { Answer, Outcome } from './answer.ts'
import { createTimeoutError, type Finish, isTimeUp, toEnd, toOutcome } from './answer-end.ts'
import { type AnswerLimits, appendWithin } from './answer-limits.ts'
import { findPassages } from './find-passages.ts'

export type WriteOptions = {
  store: Store
  llm: Llm
  limits: AnswerLimits
  systemPrompt?: string | undefined
  onFallback: (fallback: Fallback) => void
}

/** A stored question, the conversation before it, newest first, and the model to ask. */
export type OpenTurn = { question: string; history: PastMessage[]; model: ChatModel }

/**
 * Fills the answer: retrieves passages, builds the prompt and streams the model's output. No step waits for a client, and
 * no connection is held while the model runs. Never rejects: every failure is an outcome.
 */
export async function writeAnswer(options: WriteOptions, answer: Answer, turn: OpenTurn): Promise<Outcome> {
  try {
    return await streamAnswer(options, answer, turn)
  } catch (error) {
    const isTimeout = isTimeUp(error) && answer.deltas === 0
    return toOutcome(isTimeout ? createTimeoutError() : error)
  }
}

async function streamAnswer(
  { store, llm, limits, systemPrompt, onFallback }: WriteOptions,
  answer: Answer,
  { question, history, model: chosen }: OpenTurn,
): Promise<Outcome> {
  const { owner, controller } = answer
  const { signal } = controller
  const asked = history.flatMap(({ role, content }) => (role === 'user' ? [content] : [])).reverse()
  const searchText = rewriteQuestion([...asked, question])
  const { passages, sources } = await findPassages({ store, embedder: llm.embedder }, owner, searchText, signal)
  answer.sources = sources
  const messages = buildPrompt({ systemPrompt, passages, history, question })
  const open = (model: ChatModel) => {
    answer.model = model.name
    return model.stream({ messages, passages, signal })
  }
  const { model, events } = await streamWithFallback({ models: llm.chatModels, onFallback }, chosen, open)
  const own = { ...limits, maxTokens: model.maxAnswerTokens ?? limits.maxTokens }
  answer.accept()
  let finish: Finish | undefined
  for await (const batch of events) {
    for (const event of batch) {
      if (event.type === 'finish') finish = event
      else if (!appendWithin(own, answer, event.type === 'text-delta' ? 'text' : 'reasoning', event.text))
        return { end: toEnd({ finishReason: 'length' }) } // leaving the loop cancels the model call
    }
    if (answer.backlog.isFull()) await answer.backlog.untilRoom()
  }
  return { end: toEnd(finish) }
}
