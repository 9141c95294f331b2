import { createHistogram } from 'node:perf_hooks'

/** Statistics of times in ms. */
export type Summary = { count: number; p50: number; p95: number; p99: number; max: number }

/** Collects times in ms with three significant digits. Times below 1 µs, which two clocks can produce, count as 1 µs. */
export function createTimes() {
  const histogram = createHistogram()
  return {
    record: (ms: number): void => histogram.record(Math.max(1, Math.round(ms * 1000))),
    /** Returns the statistics, or undefined if nothing was recorded. */
    summarize: (): Summary | undefined => {
      const { count, max } = histogram
      if (count === 0) return undefined
      const percentile = (share: number) => histogram.percentile(share) / 1000
      return { count, p50: percentile(50), p95: percentile(95), p99: percentile(99), max: max / 1000 }
    },
  }
}

/** Returns the median of the defined values, or undefined if there are none. */
export function median(values: (number | undefined)[]): number | undefined {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const [low, high] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle)]]
  return low === undefined || high === undefined ? undefined : (low + high) / 2
}
