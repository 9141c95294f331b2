import type { Answer, Outcome } from '../chat/answer.ts'
import type { AnswerLimits } from '../chat/answer-limits.ts'

/** What the metrics read of an answer, or of a call. */
export type Measured = Pick<Answer, 'startedAt' | 'firstDeltaAt' | 'deltas' | 'end' | 'ended'>

export type Call = ReturnType<typeof createCall>

/** An answer that goes to its client alone: nothing keeps it, and nobody else can read it. */
export function createCall(limits: AnswerLimits) {
  const ended = Promise.withResolvers<void>()
  const state: Omit<Measured, 'ended'> = { startedAt: performance.now(), deltas: 0 }
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
