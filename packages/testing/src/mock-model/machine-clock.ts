const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/** A time of `performance.now()`, by default this one, on the clock that all processes of a machine share; in ms. */
export function toMachineTime(time = performance.now()): number {
  return time + offset
}
