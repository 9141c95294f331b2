import type { MeasuredAnswer } from '@repo/telemetry'
import type { Outcome } from '../chat/answer.ts'
import type { AnswerLimits } from '../chat/answer-limits.ts'

export type Call = ReturnType<typeof createCall>

/** Creates an answer for its client only. It is not persisted, and no other client can read it. */
export function createCall(limits: AnswerLimits) {
  const ended = Promise.withResolvers<void>()
  const state: Omit<MeasuredAnswer, 'ended'> = { startedAt: performance.now(), deltas: 0 }
  return Object.assign(state, {
    limits,
    /** Aborting it cancels the model call. */
    controller: new AbortController(),
    ended: ended.promise,
    /** Counts received deltas. */
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
