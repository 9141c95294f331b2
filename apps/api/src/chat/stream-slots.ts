import { setTimeout as sleep } from 'node:timers/promises'
import { ProblemError, shuttingDown } from '../plugins/errors.ts'
import type { Quotas } from '../plugins/quotas.ts'
import { AnswerEndedError } from './answer-end.ts'
import type { AnswerLimits } from './answer-limits.ts'
import { createFairShare } from './fair-share.ts'

const endTimeoutMs = 5000 // storing an interrupted answer takes a few ms, unless the database is unavailable too

/**
 * Creates the slots for running answers. An answer holds its slot from before its question is stored until its end is
 * stored.
 */
export function createStreamSlots(count: number, quotas: Quotas, { timeoutMs: answerTimeoutMs }: AnswerLimits) {
  const taken = new Set<AbortController>()
  const share = createFairShare(count)
  let isClosed = false

  const assertFree = (identify: () => string | undefined) => {
    if (isClosed) throw shuttingDown({ safeToRetry: true })
    if (taken.size < count) return
    share.noteRejection(identify())
    throw tooManyStreams()
  }
  const waitUntilIdle = async (waitMs: number) => {
    const deadline = performance.now() + waitMs
    while (taken.size > 0 && performance.now() < deadline) await sleep(50)
  }

  return {
    /** Throws `ProblemError` 503 when all slots are taken. `credentials` are not verified yet. */
    assertFree: (credentials: string): void => assertFree(() => share.recognize(credentials)),

    /** Throws `ProblemError` 429 if the owner has half of the slots while others are being rejected. */
    assertShare: (owner: string, credentials: string): void => {
      share.remember(owner, credentials)
      share.assert(owner)
    },

    isClosed: () => isClosed,

    /**
     * Takes a slot and returns the function that releases it. The answer is aborted when its time is up. Throws
     * `ProblemError`: 503 when all slots are taken, 429 when the owner's quota or share is used up.
     */
    acquire: (owner: string, controller: AbortController): (() => void) => {
      assertFree(() => owner)
      share.assert(owner)
      quotas.acquireStream(owner)
      share.take(owner)
      taken.add(controller)
      const timer = setTimeout(() => controller.abort(new AnswerEndedError('timeout')), answerTimeoutMs).unref()
      return () => {
        clearTimeout(timer)
        taken.delete(controller)
        share.release(owner)
        quotas.releaseStream(owner)
      }
    },

    /** Stops accepting answers, waits `drainMs` for running ones, then interrupts the remaining ones. */
    drain: async (drainMs: number): Promise<void> => {
      isClosed = true
      await waitUntilIdle(drainMs)
      for (const controller of taken) controller.abort(new AnswerEndedError('interrupted'))
      await waitUntilIdle(endTimeoutMs)
    },
  }
}

function tooManyStreams(): ProblemError {
  const detail = 'All answer slots are taken. Try again in a moment.'
  return new ProblemError(503, 'too_many_streams', detail, { retryAfterSeconds: 2 })
}
