import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Store } from '@repo/db'
import type { Llm } from '@repo/llm'
import type { FastifyBaseLogger } from 'fastify'
import { describeError, ProblemError } from '../plugins/errors.ts'
import { type Answer, createAnswer } from './answer.ts'
import { startKeeping, storeEnd } from './keep-answers.ts'
import type { Question } from './question.ts'
import { AnswerEndedError, writeAnswer } from './write-answer.ts'

export type ChatOptions = {
  store: Store
  llm: Llm
  log: FastifyBaseLogger
  /** Answers that may run at once in this process. */
  maxStreams: number
  systemPrompt?: string | undefined
}

export type Chat = ReturnType<typeof createChat>

/** The answers that run in this process: begins them, ends them, and lets nobody wait for them who need not. */
export function createChat(options: ChatOptions) {
  const { store, maxStreams } = options
  const running = new Map<string, Answer>()
  const stopKeeping = startKeeping(options, { [Symbol.iterator]: () => running.values() })
  let taken = 0
  let isDraining = false
  let ending: AnswerEndedError | undefined

  /** Never rejects: whatever happens ends up in the answer, in its row and in the log. */
  const run = async (answer: Answer, question: Question, log: FastifyBaseLogger) => {
    const startedAt = performance.now()
    const written = await writeAnswer(options, answer, question)
    const outcome = await storeEnd({ store, log }, answer, written)
    running.delete(answer.key.answerId)
    taken -= 1
    answer.close(outcome)
    const { end, failure } = outcome
    const line = { ...answer.key, status: end.status, durationMs: Math.round(performance.now() - startedAt) }
    if (failure) log.error({ ...line, error: describeError(failure) }, 'answer failed')
    else log.info(line, 'answer ended')
  }

  const end = (reason: AnswerEndedError, answers: Iterable<Answer>) => {
    for (const { controller } of answers) controller.abort(reason)
  }

  const untilNoneRuns = async (timeoutMs: number) => {
    const deadline = performance.now() + timeoutMs
    while (taken > 0 && performance.now() < deadline) await sleep(50)
  }

  return {
    /**
     * Stores the question and sets the model to work; the answer is still empty. What becomes of it goes to `log`.
     * Throws `ConflictError`, or `ProblemError` 503 when no more may run.
     */
    ask: async (owner: string, question: Question, log = options.log): Promise<Answer> => {
      if (isDraining) throw unavailable('shutting_down', 'The server is restarting; try again.')
      if (taken >= maxStreams) throw unavailable('too_many_streams', 'No more answers can stream at once; try again.')
      taken += 1
      try {
        const answerId = randomUUID()
        const text = await openTurn(store, owner, question, answerId)
        const answer = createAnswer(owner, { conversationId: question.conversationId, answerId })
        running.set(answerId, answer)
        if (ending) end(ending, [answer]) // the question was being stored when the drain's time was over
        void run(answer, { ...question, text }, log)
        return answer
      } catch (error) {
        taken -= 1
        throw error
      }
    },

    /** Ends a conversation's running answer in this process and waits until what there is of it is stored. */
    stop: async (owner: string, conversationId: string): Promise<void> => {
      const isMeant = (answer: Answer) => answer.owner === owner && answer.key.conversationId === conversationId
      const answers = [...running.values()].filter(isMeant)
      end(new AnswerEndedError('stopped'), answers)
      await Promise.all(answers.map(({ ended }) => ended))
    },

    /** Takes no more questions, gives running answers `timeoutMs` to end, then interrupts those that are left. */
    drain: async (timeoutMs: number): Promise<void> => {
      isDraining = true
      await untilNoneRuns(timeoutMs)
      ending = new AnswerEndedError('interrupted')
      end(ending, running.values())
      await untilNoneRuns(5000) // ms; storing them takes a few, unless the database is away too
    },

    /** Ends what runs beside the answers. */
    close: stopKeeping,

    isDraining: () => isDraining,
  }
}

/** Gives the question's text: the stored one when it is asked anew. */
async function openTurn(store: Store, owner: string, question: Question, answerId: string): Promise<string> {
  const { conversationId, questionId, text } = question
  if (question.regenerate) {
    const stored = await store.turns.reopen(owner, { conversationId, questionId, answerId })
    if (stored !== undefined) return stored
  }
  await store.turns.open(owner, { conversationId, title: toTitle(text), questionId, question: text, answerId })
  return text
}

/** The question's beginning: 80 characters, none of them cut in half. */
function toTitle(question: string): string {
  const line = question.replaceAll(/\s+/g, ' ').trim()
  return Array.from(line.slice(0, 160)).slice(0, 80).join('')
}

function unavailable(code: string, detail: string): ProblemError {
  return new ProblemError(503, code, detail, { retryAfterSeconds: 2 })
}
