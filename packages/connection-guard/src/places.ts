/** A stack that is formatted when it is first read, which costs far more than recording it. */
export type Trace = { stack: string }

/** Records the stack of the function that called `below`. Frameworks and drivers put about 20 of their frames in it. */
export function recordStack(below: (...args: never[]) => unknown, frames = 30): Trace {
  const trace = { stack: '' }
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = frames
  Error.captureStackTrace(trace, below)
  Error.stackTraceLimit = limit
  return trace
}

/** Records the whole stack of a call that is probably reported. SDKs put about 50 of their frames in it. */
export function recordCall(below: (...args: never[]) => unknown): Trace {
  return recordStack(below, 200)
}

/** Returns the first place of a stack in the application's own code, or in a package if there is none. */
export function findPlace({ stack }: Trace): string {
  const places = readPlaces(stack)
  const place = places.find(isOwn) ?? places[0] ?? 'an unknown place'
  return place.replace('async ', '').replace('file://', '')
}

/**
 * Returns whether the stack has one function of the application before its first `await`. If there are more, such as
 * `load` in `Promise.all([load(), fetch(url)])`, the others continue in the same async context.
 */
export function hasOneCaller({ stack }: Trace): boolean {
  return readPlaces(stack).filter((place) => isOwn(place) && !place.startsWith('async ')).length === 1
}

/** Returns whether the function that took the connection waits for the one that makes the call. */
export function isCalledBy(taken: Trace, called: Trace): boolean {
  const taker = readPlaces(taken.stack).find(isOwn)
  const name = taker && readName(taker)
  return name !== undefined && readPlaces(called.stack).some((place) => readName(place) === name)
}

/** The function and file of a place. Functions without a name have none. */
function readName(place: string): string | undefined {
  return /^(?:async )?(\S.* \(.+):\d+:\d+\)$/.exec(place)?.[1]
}

/** The frames with a line number, without those of Node. */
function readPlaces(stack: string): string[] {
  const frames = [...stack.matchAll(/^ +at (.*:\d+:\d+\)?)$/gm)].map(([, frame = '']) => frame)
  return frames.filter((frame) => !frame.includes('node:'))
}

const isOwn = (place: string) => !place.includes('node_modules')
