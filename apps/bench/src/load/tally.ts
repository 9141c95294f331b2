import { createTimes, type Summary } from './summary.ts'

/** Counts since the start: `open` now, of which `streaming` have had a token. `refused` had 503 with Retry-After. */
export type Counts = {
  started: number
  open: number
  streaming: number
  completed: number
  refused: number
  tokens: number
}

export type LoadResult = Counts & {
  /** How many, by status and code, by the code of a broken connection, or by what is wrong with the answer. */
  failures: Record<string, number>
  /** From the intended start; for reads to the last byte. Who was given up without a token counts with the wait so far. */
  firstToken: Summary | undefined
  /** Of each token, against the model's schedule. */
  late: Summary | undefined
  /** Of refusals, from the intended start. */
  refusal: Summary | undefined
}

export type Tally = ReturnType<typeof createTally>

/** What a load counts and times. */
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
