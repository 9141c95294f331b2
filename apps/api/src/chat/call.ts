import type { MeasuredAnswer } from '@repo/telemetry'
import type { Outcome } from './answer.ts'
import type { AnswerLimits } from './answer-limits.ts'

export type Call = ReturnType<typeof createCall>

/** An answer that goes to its client alone: nothing keeps it, and nobody else can read it. */
export function createCall(limits: AnswerLimits) {
  const ended = Promise.withResolvers<void>()
  const state: Omit<MeasuredAnswer, 'ended'> = { startedAt: performance.now(), deltas: 0 }
  return Object.assign(state, {
    limits,
    /** Aborting it ends the model call. */
    controller: new AbortController(),
    ended: ended.promise,
    /** Counts deltas that have come. */
    count: (deltas: number) => {
      if (state.deltas === 0 && deltas > 0) state.firstDeltaAt = performance.now()
      state.deltas += deltas
    },
    close: ({ end }: Outcome) => {
      state.end = end
      ended.resolve()
    },
  })
}
