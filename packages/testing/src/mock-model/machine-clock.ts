const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/**
 * Converts a time of `performance.now()`, by default now, to the clock that all processes of this machine share, in ms.
 */
export function toMachineTime(time = performance.now()): number {
  return time + offset
}
