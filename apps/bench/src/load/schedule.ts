/**
 * When requests shall start, in ms from the beginning: the first at once, then one every `spacingMs`. `takeDue` gives each
 * start once, with the time it was meant for: a generator or a server that stalls makes starts late, and a latency that
 * counts from the intended start does not leave that out (coordinated omission).
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
