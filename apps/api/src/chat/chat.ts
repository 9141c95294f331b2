import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Store, StoredQuestion } from '@repo/db'
import type { Fallback } from '@repo/llm'
import { listFiles } from '@repo/rag'
import type { MeasuredAnswer } from '@repo/telemetry'
import { describeError } from '@repo/telemetry'
import { ProblemError, shuttingDown } from '../plugins/errors.ts'
import type { Quotas } from '../plugins/quotas.ts'
import { type Answer, type Caller, createAnswer, type Outcome } from './answer.ts'
import { AnswerEndedError, toOutcome } from './answer-end.ts'
import type { AnswerLimits } from './answer-limits.ts'
import { createAsk } from './ask.ts'
import { continueTurn, readWaiting } from './continue-answer.ts'
import { findModel } from './find-model.ts'
import { createFollowedAnswers } from './follow-answers.ts'
import { startPersistence, storeEnd } from './persist-answers.ts'
import type { Continuation, Question } from './question.ts'
import { assertTakesImages } from './question-parts.ts'
import { createStreamSlots } from './stream-slots.ts'
import { type OpenTurn, type WriteOptions, writeAnswer } from './write-answer.ts'
import { type TitleWriter, toTitle } from './write-title.ts'

export type ChatOptions = WriteOptions & {
  /** Maximum number of concurrent answers in this process. */
  maxStreams: number
  /** Counts each owner's answers, and rejects those beyond the quota. */
  quotas: Quotas
  /** Unset: a conversation's title stays its first question. */
  titles?: TitleWriter | undefined
  /** Called for each answer that begins in this process. */
  onAnswer: (answer: MeasuredAnswer) => void
  /** Called for each model call that a fallback took over. */
  onFallback: (fallback: Fallback) => void
}

/** An answer for its client only. Aborting its controller cancels the model call. */
type RunningCall = MeasuredAnswer & { controller: AbortController }

export type Chat = ReturnType<typeof createChat>

const stopTimeoutMs = 3000 // stop requests are polled every 250 ms; a slower process is assumed to be gone

/** Starts answers in this process. Finds and stops running answers in any process. */
export function createChat(options: ChatOptions) {
  const { store, maxStreams, quotas, limits } = options
  const opening = new Set<Answer>() // their questions are being stored
  const running = new Map<string, Answer>()
  const stopPersistence = startPersistence(options, running)
  const followed = createFollowedAnswers(options)
  const slots = createStreamSlots(maxStreams, quotas, limits)
  const start = createStart(options, { opening, running, slots })

  const begin = (owner: string, question: Question, caller: Caller) => {
    const answer = createAnswer(owner, { conversationId: question.conversationId, answerId: randomUUID() })
    const open = async () => ({ ...(await openTurn(options, question, answer)), organization: question.organization })
    return start(answer, open, caller)
  }

  const goOn = async (owner: string, { responses, organization, ...key }: Continuation, caller: Caller) => {
    const waiting = await readWaiting(store, owner, key, responses)
    const answer = createAnswer(owner, key, waiting.beginning)
    return start(answer, async () => ({ ...(await continueTurn(options, answer, waiting)), organization }), caller)
  }

  /** Stops the conversation's running answer in any process, and waits until its text is persisted. */
  const stop = async (owner: string, conversationId: string): Promise<void> => {
    const here = [...opening, ...running.values()].filter(isIn(owner, conversationId))
    if (here.length === 0) return stopElsewhere(store, owner, conversationId)
    for (const { controller } of here) controller.abort(new AnswerEndedError('stopped'))
    await Promise.race([Promise.all(here.map(({ ended }) => ended)), sleep(stopTimeoutMs)])
  }
  const askQuestion = createAsk({ store, begin, stop })

  return {
    /**
     * Stores the question, starts the model and returns the answer, which is still empty. Or goes on with an answer that
     * waits for its client. The result goes to the caller's log. Throws `ConflictError`, or `ProblemError`: 404 for an unknown model,
     * 503 when all slots are taken, 429 when the owner's quota is used up, 409 if the answer does not wait, 400 if a
     * response is missing.
     */
    ask: async (owner: string, asked: Question | Continuation, caller: Caller = options): Promise<Answer> => {
      if ('responses' in asked) return goOn(owner, asked, caller)
      return askQuestion(owner, asked, caller)
    },

    /**
     * Starts an answer that is not persisted, made by `create`. It occupies a slot until it ends. Throws `ProblemError`:
     * 503 when all slots are taken, 429 when the owner's quota is used up.
     */
    openCall: <Call extends RunningCall>(owner: string, create: (limits: AnswerLimits) => Call): Call => {
      const call = create(limits)
      void call.ended.then(slots.acquire(owner, call.controller))
      options.onAnswer(call)
      return call
    },

    /**
     * Returns the answer with this id, even if it has ended. Without an id, returns the conversation's running answer.
     * Returns undefined when there is none. Throws `ProblemError` 503 when there are too many readers or the process is
     * shutting down.
     */
    resume: async (owner: string, conversationId: string, answerId?: string): Promise<Answer | undefined> => {
      const here = running.values().find(isIn(owner, conversationId))
      if (here && (answerId === undefined || here.key.answerId === answerId)) return admit(here, running, maxStreams)
      if (followed.isClosed()) throw shuttingDown({ safeToRetry: true })
      if (followed.count() >= maxStreams) throw tooManyReaders()
      const id = answerId ?? (await store.answers.findRunning(owner, conversationId))
      return id === undefined ? undefined : followed.open(owner, { conversationId, answerId: id })
    },

    /** Stops the conversation's running answer. Waits at most about 3 s; by then the model call has been cancelled. */
    stop,

    /** Rejects new questions, gives running answers `drainMs` to end, then interrupts the remaining ones. */
    drain: async (drainMs: number): Promise<void> => {
      await slots.drain(drainMs)
      followed.close()
    },

    /** Stops the background work. */
    close: () => [stopPersistence(), followed.close()],

    assertSlot: slots.assertFree,
    assertShare: slots.assertShare,
    isDraining: slots.isClosed,
  }
}

type Places = { opening: Set<Answer>; running: Map<string, Answer>; slots: ReturnType<typeof createStreamSlots> }

/** Returns a function that starts the model for an answer once `open` has stored its turn. */
function createStart(options: ChatOptions, { opening, running, slots }: Places) {
  return async (answer: Answer, open: () => Promise<OpenTurn>, { log, keyId }: Caller): Promise<Answer> => {
    answer.keyId = keyId
    void answer.ended.then(slots.acquire(answer.owner, answer.controller))
    opening.add(answer)
    try {
      const turn = await open()
      running.set(answer.key.answerId, answer)
      options.onAnswer(answer)
      void run({ ...options, log }, running, answer, turn)
      return answer
    } catch (error) {
      answer.close(toOutcome(error))
      throw error
    } finally {
      opening.delete(answer)
    }
  }
}

/**
 * Limits the readers of all answers of this process to twice `maxStreams`. A reader costs a socket, even if the answer
 * is already paid for.
 */
function admit(answer: Answer, running: Map<string, Answer>, maxStreams: number): Answer {
  const readers = running.values().reduce((sum, { countReaders }) => sum + countReaders(), 0)
  if (readers >= 2 * maxStreams) throw tooManyReaders()
  return answer
}

function tooManyReaders(): ProblemError {
  const detail = 'Too many clients are reading answers. Try again in a moment.'
  return new ProblemError(503, 'too_many_streams', detail, { retryAfterSeconds: 2 })
}

function isIn(owner: string, conversationId: string) {
  return (answer: Answer) => answer.owner === owner && answer.key.conversationId === conversationId
}

async function run(options: ChatOptions, running: Map<string, Answer>, answer: Answer, turn: OpenTurn) {
  const outcome = await completeAnswer(options, answer, turn)
  running.delete(answer.key.answerId)
  answer.close(outcome)
  options.titles?.write(answer, turn, options.log)
}

/** Completes an answer. Never rejects: every failure goes to the answer, its row and the log. */
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

/**
 * Stores the question, or reads or replaces the stored one. Throws `ProblemError`: 404 for an unknown model, 400 for images
 * that the model does not take.
 */
async function openTurn({ store, llm }: ChatOptions, question: Question, { owner, key }: Answer): Promise<OpenTurn> {
  const { conversationId, questionId, text, parts, files, scope, action } = question
  const { answerId } = key
  const model = question.model === undefined ? llm.chat : findModel(llm.chatModels, question.model)
  assertTakesImages(question, model, llm.chatModels)
  const turn = { conversationId, questionId, answerId, scope }
  if (action !== 'ask') {
    const edited = action === 'edit' ? { question: text, parts, files } : {}
    const history = await store.turns.history(owner, conversationId, questionId) // first: a failure replaces nothing
    const stored = await store.turns.reopen(owner, { ...turn, ...edited })
    if (stored) return { ...toTurn(stored), history, model }
  }
  const title = toTitle(text, listFiles(parts))
  const history = await store.turns.open(owner, { ...turn, title, question: text, parts, files })
  return { question: text, files: listFiles(parts), scope, history, model }
}

function toTurn({ question, parts, scope }: StoredQuestion) {
  return { question, files: listFiles(parts), scope: scope ?? undefined }
}
