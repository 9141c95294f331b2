import type { ServerResponse } from 'node:http'
import { createHistogram } from 'node:perf_hooks'

type Due = { at: number; run: () => void }

export type Pacer = ReturnType<typeof createPacer>

/**
 * Runs things at their time, thousands of them on one timer, and measures how late they were: a load test must know
 * whether the model or the server under test was slow. Times are `performance.now()`, in ms.
 */
export function createPacer() {
  const buckets = new Map<number, Due[]>()
  const histogram = createHistogram()
  let next = Math.floor(performance.now())

  const until = (at: number) =>
    new Promise<void>((run) => {
      const tick = Math.max(next, Math.ceil(at))
      const bucket = buckets.get(tick)
      if (bucket) bucket.push({ at, run })
      else buckets.set(tick, [{ at, run }])
    })

  const runDue = () => {
    for (const now = performance.now(); next <= now; next += 1) {
      const bucket = buckets.get(next)
      buckets.delete(next)
      for (const { at, run } of bucket ?? []) {
        histogram.record(Math.max(1, Math.round((performance.now() - at) * 1000)))
        run()
      }
    }
  }
  const timer = setInterval(runDue, 1)

  return {
    /** Resolves at a time, or at once when that is over. */
    until,

    /** Resolves after `delayMs`. */
    wait: (delayMs: number): Promise<void> => (delayMs > 0 ? until(performance.now() + delayMs) : Promise.resolve()),

    /** How late things ran since the start, in ms. */
    lateness: () => ({
      p50: histogram.percentile(50) / 1000,
      p99: histogram.percentile(99) / 1000,
      max: histogram.max / 1000,
    }),

    stop: () => clearInterval(timer),
  }
}

/** Resolves when the response takes more, or its client has left. */
export function untilWritable(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}
