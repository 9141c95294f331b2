import { createTimes, type Summary } from '@repo/measure/summary'

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
  /** From the intended start of a chat. Includes the wait of chats abandoned without a token. */
  firstToken: Summary | undefined
  /** From the intended start to the last byte, of reads, searches and database queries. */
  response: Summary | undefined
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
  const [firstToken, response, late, refusal] = [createTimes(), createTimes(), createTimes(), createTimes()]
  return {
    counts,
    firstToken,
    response,
    late,
    refusal,
    fail: (kind: string, times = 1): void => {
      failures[kind] = (failures[kind] ?? 0) + times
    },
    summarize: (): LoadResult => ({
      ...counts,
      failures,
      firstToken: firstToken.summarize(),
      response: response.summarize(),
      late: late.summarize(),
      refusal: refusal.summarize(),
    }),
  }
}
