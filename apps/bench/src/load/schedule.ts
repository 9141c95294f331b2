/**
 * Creates a schedule of request starts, in ms from the beginning: the first at once, then one every `spacingMs`. `takeDue`
 * returns each start once, with its intended time. Latency must count from the intended start, because a stalled load
 * generator or server delays starts (coordinated omission).
 */
export function createSchedule(count: number, spacingMs: number) {
  let next = 0
  return {
    takeDue: (elapsedMs: number): number[] => {
      const due: number[] = []
      for (; next < count && next * spacingMs <= elapsedMs; next += 1) due.push(next * spacingMs)
      return due
    },
    isOver: () => next === count,
  }
}
