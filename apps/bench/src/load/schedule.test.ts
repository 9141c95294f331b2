import { describe, expect, it } from 'vitest'
import { createSchedule } from './schedule.ts'

describe('a schedule', () => {
  it('starts each request once, at its time', () => {
    const schedule = createSchedule(4, 10)
    expect([0, 0, 9.9, 10, 35, 100].map(schedule.takeDue)).toEqual([[0], [], [], [10], [20, 30], []])
  })

  it('returns the intended time of starts that a stall delayed, so that the wait counts', () => {
    const schedule = createSchedule(1000, 1)
    schedule.takeDue(10)
    const latencies = schedule.takeDue(510).map((intended) => 510 - intended)
    expect(latencies).toHaveLength(500)
    expect([latencies[0], latencies.at(-1)]).toEqual([499, 0])
  })

  it('is over when all have started, even if all start at once', () => {
    const schedule = createSchedule(3, 0)
    expect(schedule.isOver()).toBe(false)
    expect(schedule.takeDue(0)).toEqual([0, 0, 0])
    expect(schedule.isOver()).toBe(true)
  })
})
