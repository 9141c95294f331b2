import { describe, expect, it } from 'vitest'
import { createTimes, median } from './summary.ts'

describe('a summary of times', () => {
  it('has the middle, what 99 of 100 stay below, and the worst, to three digits', () => {
    const times = createTimes()
    for (let ms = 1; ms <= 1000; ms += 1) times.record(ms)
    const { count, p50 = 0, p99 = 0, max = 0 } = times.summarize() ?? {}
    expect(count).toBe(1000)
    expect([p50 / 500, p99 / 990, max / 1000].map((ratio) => Math.abs(ratio - 1) < 0.002)).toEqual([true, true, true])
  })

  it('is not moved at the middle by one outlier, which shows as the worst', () => {
    const times = createTimes()
    for (let index = 0; index < 99; index += 1) times.record(2)
    times.record(30_000)
    const { p50, max = 0 } = times.summarize() ?? {}
    expect(p50).toBeCloseTo(2, 1)
    expect(max).toBeGreaterThan(29_900)
  })

  it('is missing when nothing was timed', () => expect(createTimes().summarize()).toBeUndefined())
})

describe('the median', () => {
  it('is the middle one of three, whatever their order', () => expect(median([30, 1, 2])).toBe(2))
  it('is between the middle two of four', () => expect(median([4, 1, 3, 100])).toBe(3.5))
  it('leaves out what was not measured', () => expect(median([undefined, 7])).toBe(7))
  it('is missing when nothing was', () => expect(median([undefined])).toBeUndefined())
})
