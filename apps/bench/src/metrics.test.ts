import { describe, expect, it } from 'vitest'
import { createTally } from './load/tally.ts'
import { measure } from './metrics.ts'
import type { Sample } from './watch/sampler.ts'

/** A sample at `seconds`, after which the app, PgBouncer and Postgres have used 3, 1 and 5 ms of CPU per request. */
function sample(seconds: number, completed: number, tokens: number): Sample {
  const use = (cpuMs: number) => ({ cpuMs: cpuMs * completed, rssKb: 1000 })
  return {
    atMs: seconds * 1000,
    ...{ started: completed, open: 0, streaming: 0, completed, refused: 0, tokens },
    ...{ backends: 0, busy: 0, idleInTransaction: 0, hidden: 0, clients: 0, waiting: 0, databaseKb: 0 },
    usage: { server: use(3), pgbouncer: use(1), postgres: use(5) },
  }
}

describe('the metrics of a run', () => {
  const result = createTally().summarize()

  it('contain the CPU of each part per request and requests per second, from the start of the load', () => {
    const samples = [sample(0, 0, 0), sample(1, 10, 10), sample(3, 110, 110), sample(5, 210, 210)]
    expect(measure(result, samples, 0, 4000)).toMatchObject({
      requestsPerSecond: 50,
      cpuPerChat: 3,
      poolerPerChat: 1,
      postgresPerChat: 5,
      totalPerChat: 9,
    })
  })

  it('contain no cost per request for long answers', () => {
    const values = measure(result, [sample(1, 10, 1000), sample(3, 110, 11_000)], 0, 4000)
    expect(values).toMatchObject({ requestsPerSecond: 50, cpuPerChat: undefined, totalPerChat: undefined })
  })
})
