import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Store } from '@repo/db'
import type { Llm } from '@repo/llm'
import type { MeasuredAnswer } from '@repo/telemetry'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import type { Quotas } from '../plugins/quotas.ts'
import { type Answer, createAnswer, type Outcome } from './answer.ts'
import type { AnswerLimits } from './answer-limits.ts'
import { createCall } from './call.ts'
import { startKeeping, storeEnd } from './keep-answers.ts'
import { createPlaces, shuttingDown, tooManyStreams } from './places.ts'
import type { Question } from './question.ts'
import { createTails } from './tail-answers.ts'
import { AnswerEndedError, type OpenTurn, toOutcome, writeAnswer } from './write-answer.ts'

export type ChatOptions = {
  store: Store
  llm: Llm
  log: FastifyBaseLogger
  /** Answers that may run at once in this process. */
  maxStreams: number
  /** Told of each answer that begins and ends; refuses those that are too many of one owner. */
  quotas: Quotas
  systemPrompt?: string | undefined
  /** Of one answer. */
  limits: AnswerLimits
  /** Told of each answer that begins here. */
  onAnswer: (answer: MeasuredAnswer) => void
}

export type Chat = ReturnType<typeof createChat>

const stopTimeoutMs = 3000 // an answer's process needs 250 ms to hear that it shall stop; after this it is dead

/** The answers that run: begins them in this process, and finds and ends them in any. */
export function createChat(options: ChatOptions) {
  const { store, maxStreams, quotas, limits } = options
  const opening = new Set<Answer>() // their questions are being stored
  const running = new Map<string, Answer>()
  const stopKeeping = startKeeping(options, running)
  const tails = createTails(options)
  const places = createPlaces(maxStreams, quotas, limits)

  const run = async (answer: Answer, turn: OpenTurn, log: FastifyBaseLogger) => {
    const outcome = await completeAnswer({ ...options, log }, answer, turn)
    running.delete(answer.key.answerId)
    answer.close(outcome)
  }

  return {
    /**
     * Stores the question and sets the model to work; the answer is still empty. What becomes of it goes to `log`.
     * Throws `ConflictError`, or `ProblemError`: 503 when no more may run, 429 when no more of this owner may.
     */
    ask: async (owner: string, question: Question, log = options.log): Promise<Answer> => {
      const answerId = randomUUID()
      const answer = createAnswer(owner, { conversationId: question.conversationId, answerId })
      void answer.ended.then(places.take(owner, answer.controller))
      opening.add(answer)
      try {
        const turn = await openTurn(store, owner, question, answerId)
        running.set(answerId, answer)
        options.onAnswer(answer)
        void run(answer, turn, log)
        return answer
      } catch (error) {
        answer.close(toOutcome(error))
        throw error
      } finally {
        opening.delete(answer)
      }
    },

    /**
     * Begins an answer that is stored nowhere; it has a place among the others until it is closed. Throws `ProblemError`: 503 when
     * no more may run, 429 when no more of this owner may.
     */
    openCall: (owner: string) => {
      const call = createCall(limits)
      void call.ended.then(places.take(owner, call.controller))
      options.onAnswer(call)
      return call
    },

    /**
     * An answer to follow from its beginning: the one with that id, also when it has ended, or the one that runs in the
     * conversation. Undefined when there is none. Throws `ProblemError` 503 when no more may be followed, or the drain is over.
     */
    resume: async (owner: string, conversationId: string, answerId?: string): Promise<Answer | undefined> => {
      const here = running.values().find(isIn(owner, conversationId))
      if (here && (answerId === undefined || here.key.answerId === answerId)) return admit(here, running, maxStreams)
      if (tails.isClosed()) throw shuttingDown()
      if (tails.count() >= maxStreams) throw tooManyStreams()
      const id = answerId ?? (await store.answers.findRunning(owner, conversationId))
      return id === undefined ? undefined : tails.open(owner, { conversationId, answerId: id })
    },

    /**
     * Ends the conversation's running answer, whichever process writes it, and waits until what there is of it is stored.
     * Gives up waiting after about 3 s: the model has been hung up on by then.
     */
    stop: async (owner: string, conversationId: string): Promise<void> => {
      const here = [...opening, ...running.values()].filter(isIn(owner, conversationId))
      if (here.length === 0) return stopElsewhere(store, owner, conversationId)
      for (const { controller } of here) controller.abort(new AnswerEndedError('stopped'))
      await Promise.race([Promise.all(here.map(({ ended }) => ended)), sleep(stopTimeoutMs)])
    },

    /** Takes no more questions, gives running answers `timeoutMs` to end, then interrupts those that are left. */
    drain: async (timeoutMs: number): Promise<void> => {
      await places.drain(timeoutMs)
      tails.close()
    },

    /** Ends what runs beside the answers. */
    close: () => {
      stopKeeping()
      tails.close()
    },

    assertPlace: places.assertOne,
    isDraining: places.isClosed,
  }
}

/** Whoever asked may read on, and as many again: a reader costs a socket, also of an answer that is paid for already. */
function admit(answer: Answer, running: Map<string, Answer>, maxStreams: number): Answer {
  const readers = running.values().reduce((sum, { countReaders }) => sum + countReaders(), 0)
  if (readers >= 2 * maxStreams) throw tooManyStreams()
  return answer
}

function isIn(owner: string, conversationId: string) {
  return (answer: Answer) => answer.owner === owner && answer.key.conversationId === conversationId
}

/** Never rejects: whatever happens ends up in the answer, in its row and in the log. */
async function completeAnswer(options: ChatOptions, answer: Answer, turn: OpenTurn): Promise<Outcome> {
  const startedAt = performance.now()
  const outcome = await storeEnd(options, answer, await writeAnswer(options, answer, turn))
  const { end, failure } = outcome
  const line = { ...answer.key, status: end.status, durationMs: Math.round(performance.now() - startedAt) }
  if (failure) options.log.error({ ...line, error: describeError(failure) }, 'answer failed')
  else options.log.info(line, 'answer ended')
  return outcome
}

async function stopElsewhere(store: Store, owner: string, conversationId: string): Promise<void> {
  const deadline = performance.now() + stopTimeoutMs
  const answerId = await store.answers.requestStop(owner, conversationId)
  while (answerId && answerId === (await store.answers.findRunning(owner, conversationId))) {
    if (performance.now() > deadline) return store.answers.stopAbandoned(owner, { conversationId, answerId })
    await sleep(100)
  }
}

/** The question's text is the stored one when it is asked anew. */
async function openTurn(store: Store, owner: string, question: Question, answerId: string): Promise<OpenTurn> {
  const { conversationId, questionId, text } = question
  if (question.regenerate) {
    const stored = await store.turns.reopen(owner, { conversationId, questionId, answerId })
    const read = () => store.turns.history(owner, conversationId, questionId)
    if (stored !== undefined) return { question: stored, history: await read() }
  }
  const turn = { conversationId, title: toTitle(text), questionId, question: text, answerId }
  return { question: text, history: await store.turns.open(owner, turn) }
}

/** The question's beginning: 80 characters, none of them cut in half. */
function toTitle(question: string): string {
  const line = question.replaceAll(/\s+/g, ' ').trim()
  return line.length <= 80 ? line : Array.from(line.slice(0, 160)).slice(0, 80).join('')
}
