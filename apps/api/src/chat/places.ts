import { setTimeout as sleep } from 'node:timers/promises'
import { ProblemError } from '../plugins/errors.ts'
import type { Quotas } from '../plugins/quotas.ts'
import type { AnswerLimits } from './answer-limits.ts'
import { AnswerEndedError } from './write-answer.ts'

const endTimeoutMs = 5000 // to store what was interrupted takes a few ms, unless the database is away too

/** One for each answer that runs, from before its question is stored until its end is. */
export function createPlaces(count: number, quotas: Quotas, { timeoutMs }: AnswerLimits) {
  const taken = new Set<AbortController>()
  let isClosed = false

  /** Throws `ProblemError` 503 when no more answers may run. */
  const assertOne = () => {
    if (isClosed) throw shuttingDown()
    if (taken.size >= count) throw tooManyStreams()
  }
  const untilNoneIsTaken = async (timeoutMs: number) => {
    const deadline = performance.now() + timeoutMs
    while (taken.size > 0 && performance.now() < deadline) await sleep(50)
  }

  return {
    assertOne,
    isClosed: () => isClosed,

    /**
     * Returns the function that leaves it. The answer ends when its time is up. Throws `ProblemError`: 503, or 429 when no
     * more answers of this owner may run.
     */
    take: (owner: string, controller: AbortController): (() => void) => {
      assertOne()
      quotas.acquireStream(owner)
      taken.add(controller)
      const timer = setTimeout(() => controller.abort(new AnswerEndedError('length')), timeoutMs).unref()
      return () => {
        clearTimeout(timer)
        taken.delete(controller)
        quotas.releaseStream(owner)
      }
    },

    /** Gives no more, waits `timeoutMs` for those that are taken, then interrupts the answers that are left. */
    drain: async (timeoutMs: number): Promise<void> => {
      isClosed = true
      await untilNoneIsTaken(timeoutMs)
      for (const controller of taken) controller.abort(new AnswerEndedError('interrupted'))
      await untilNoneIsTaken(endTimeoutMs)
    },
  }
}

/** What another process takes: the balancer in front asks it (infra/balancer). */
export function shuttingDown(): ProblemError {
  const detail = 'The server is restarting. Try again in a moment.'
  return new ProblemError(503, 'shutting_down', detail, { retryAfterSeconds: 2, safeToRetry: true })
}

export function tooManyStreams(): ProblemError {
  const detail = 'All answer slots are taken. Try again in a moment.'
  return new ProblemError(503, 'too_many_streams', detail, { retryAfterSeconds: 2 })
}
