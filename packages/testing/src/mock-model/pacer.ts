import { createHistogram } from 'node:perf_hooks'

export type Pacer = ReturnType<typeof createPacer>

/**
 * Runs things at their time, thousands of them on one timer, and measures how late they were: a load test must know
 * whether the model or the server under test was slow. Times are `performance.now()`, in ms.
 */
export function createPacer() {
  const slots = new Map<number, { time: number; run: (now: number) => void }[]>()
  const histogram = createHistogram()
  let last = 0 // the millisecond that ran last
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
    /** Runs something at a time, or in the next millisecond when that is over. */
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

    /** How late things ran since the start, in ms. */
    lateness: () => ({
      p50: histogram.percentile(50) / 1000,
      p99: histogram.percentile(99) / 1000,
      max: histogram.max / 1000,
    }),

    /** Forgets what is not due yet. */
    stop: (): void => {
      slots.clear()
      clearTimeout(timer)
    },
  }
}
