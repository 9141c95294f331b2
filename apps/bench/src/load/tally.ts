import { createTimes, type Summary } from './summary.ts'

/** Counts since the start. `streaming` counts open requests with a token, `refused` counts 503 with Retry-After. */
export type Counts = {
  started: number
  open: number
  streaming: number
  completed: number
  refused: number
  tokens: number
}

export type LoadResult = Counts & {
  /** Failures by status and code, by the code of a broken connection, or by what is wrong with the answer. */
  failures: Record<string, number>
  /** From the intended start; for reads to the last byte. Includes the wait of requests abandoned without a token. */
  firstToken: Summary | undefined
  /** The delay of each token relative to the model's schedule. */
  late: Summary | undefined
  /** The time to a refusal, from the intended start. */
  refusal: Summary | undefined
}

export type Tally = ReturnType<typeof createTally>

/** Creates the counters and timings of a load. */
export function createTally() {
  const counts: Counts = { started: 0, open: 0, streaming: 0, completed: 0, refused: 0, tokens: 0 }
  const failures: Record<string, number> = {}
  const [firstToken, late, refusal] = [createTimes(), createTimes(), createTimes()]
  return {
    counts,
    firstToken,
    late,
    refusal,
    fail: (kind: string, times = 1): void => {
      failures[kind] = (failures[kind] ?? 0) + times
    },
    summarize: (): LoadResult => ({
      ...counts,
      failures,
      firstToken: firstToken.summarize(),
      late: late.summarize(),
      refusal: refusal.summarize(),
    }),
  }
}
