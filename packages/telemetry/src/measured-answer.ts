import type { AnswerEnd } from '@repo/db'

/** Runs work in a span, or without one if tracing is off. `input` is recorded only if content is. */
export type TraceWork = <T>(
  operation: 'retrieval' | 'execute_tool',
  target: string,
  run: () => Promise<T>,
  input?: unknown,
) => Promise<T>

/** The part of an answer that metrics and traces read. Times are `performance.now()`. */
export type MeasuredAnswer = {
  startedAt: number
  /** Undefined until the first delta arrives. */
  firstDeltaAt?: number
  deltas: number
  end?: Pick<AnswerEnd, 'status'>
  ended: Promise<void>
}
