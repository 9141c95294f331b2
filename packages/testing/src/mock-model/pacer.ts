import { createHistogram } from 'node:perf_hooks'

export type Pacer = ReturnType<typeof createPacer>

/**
 * Creates a scheduler that runs thousands of callbacks on one timer. It measures their lateness, because a load test
 * must know whether the model or the server under test was slow. Times are `performance.now()`, in ms.
 */
export function createPacer() {
  const slots = new Map<number, { time: number; run: (now: number) => void }[]>()
  const histogram = createHistogram()
  let last = 0 // the last millisecond whose callbacks have run
  let timer: NodeJS.Timeout | undefined

  const runDue = () => {
    const now = Math.floor(performance.now())
    while (last < now) {
      last += 1
      const slot = slots.get(last)
      if (!slot) continue
      slots.delete(last)
      for (const { time, run } of slot) {
        const startedAt = performance.now()
        histogram.record(Math.max(1, Math.round((startedAt - time) * 1000)))
        run(startedAt)
      }
    }
    timer = slots.size > 0 ? setTimeout(runDue, 1) : undefined
  }

  return {
    /** Calls `run` at `time`, or in the next millisecond if that has passed. */
    at: (time: number, run: (now: number) => void): void => {
      if (!timer) {
        last = Math.floor(performance.now())
        timer = setTimeout(runDue, 1)
      }
      const millisecond = Math.max(Math.ceil(time), last + 1)
      const slot = slots.get(millisecond)
      if (slot) slot.push({ time, run })
      else slots.set(millisecond, [{ time, run }])
    },

    /** Returns the lateness of all callbacks so far, in ms. */
    lateness: () => ({
      p50: histogram.percentile(50) / 1000,
      p99: histogram.percentile(99) / 1000,
      max: histogram.max / 1000,
    }),

    /** Drops all callbacks that are not due yet. */
    stop: (): void => {
      slots.clear()
      clearTimeout(timer)
    },
  }
}
