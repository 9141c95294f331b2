import { describe, expect, it } from 'vitest'
import { createTimes, median } from './summary.ts'

describe('a summary of times', () => {
  it('contains median, 99th percentile and maximum, with three digits', () => {
    const times = createTimes()
    for (let ms = 1; ms <= 1000; ms += 1) times.record(ms)
    const { count, p50 = 0, p99 = 0, max = 0 } = times.summarize() ?? {}
    expect(count).toBe(1000)
    expect([p50 / 500, p99 / 990, max / 1000].map((ratio) => Math.abs(ratio - 1) < 0.002)).toEqual([true, true, true])
  })

  it('shows an outlier in the maximum, but not in the median', () => {
    const times = createTimes()
    for (let index = 0; index < 99; index += 1) times.record(2)
    times.record(30_000)
    const { p50, max = 0 } = times.summarize() ?? {}
    expect(p50).toBeCloseTo(2, 1)
    expect(max).toBeGreaterThan(29_900)
  })

  it('is undefined if nothing was recorded', () => expect(createTimes().summarize()).toBeUndefined())
})

describe('the median', () => {
  it('is the middle one of three in any order', () => expect(median([30, 1, 2])).toBe(2))
  it('is the mean of the middle two of four', () => expect(median([4, 1, 3, 100])).toBe(3.5))
  it('ignores missing values', () => expect(median([undefined, 7])).toBe(7))
  it('is undefined without values', () => expect(median([undefined])).toBeUndefined())
})
