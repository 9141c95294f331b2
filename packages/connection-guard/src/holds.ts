import { AsyncLocalStorage } from 'node:async_hooks'
import type { Callback } from './network.ts'
import { hasOneCaller, isCalledBy, recordCall, recordStack, type Trace } from './places.ts'

/** A transaction, or a connection that was taken from its pool. */
export type Hold = { state: 'waiting' | 'open' | 'over'; origin: Trace }

/** Says that an async context belongs to a hold. One that is not certain may belong to a sibling instead. */
type Mark = { hold: Hold; isCertain: boolean; outer: Mark | undefined }

export type Holds = ReturnType<typeof createHolds>

/** Knows which connections the current async context holds. */
export function createHolds() {
  const contexts = new AsyncLocalStorage<Mark | undefined>()

  /** Returns the innermost connection that the caller of `below` certainly holds. */
  function find(below: Callback): Hold | undefined {
    const innermost = contexts.getStore()
    for (let mark = innermost; mark; mark = mark.outer) {
      const { hold, isCertain } = mark
      if (hold.state !== 'open') continue
      if (isCertain || hasOneCaller(hold.origin)) return hold
      if (mark === innermost && isCalledBy(hold.origin, recordCall(below))) return hold
    }
    return undefined
  }

  /** Runs a function that owns an open connection. */
  function run<T>(hold: Hold, work: () => T): T {
    hold.state = 'open'
    return contexts.run({ hold, isCertain: true, outer: skipEnded(contexts.getStore()) }, work)
  }

  /**
   * Marks the rest of the calling function. Node keeps the mark for its callers too, until they first wait. That is why
   * a connection which a promise returns is not certain before it is used.
   */
  function enter(hold: Hold, isCertain: boolean): void {
    const current = contexts.getStore()
    if (current?.hold === hold && current.isCertain === isCertain) return
    contexts.enterWith({ hold, isCertain, outer: skipEnded(current) })
  }

  /** Marks the rest of a function that uses a connection. */
  function use(hold: Hold | undefined): void {
    if (hold?.state === 'open') enter(hold, true)
  }

  /** Wraps the callback of a transaction, which begins when the callback runs and ends when its promise settles. */
  function wrap<T extends object>(callback: T, below: Callback): T {
    const origin = recordStack(below, 10) // few libraries put more frames around a callback, and each costs 0.1 µs
    return new Proxy(callback, {
      apply(target, self, args) {
        const hold: Hold = { state: 'open', origin }
        const result = run(hold, () => Reflect.apply(Object(target), self, args))
        if (!Array.isArray(result)) return settle(result, hold)
        hold.state = 'over' // an array of queries, which postgres.js runs
        return result
      },
    })
  }

  return { find, run, enter, use, wrap }
}

/** Begins a hold, whose connection the caller of `below` waits for. */
export function beginHold(below: Callback): Hold {
  return { state: 'waiting', origin: recordStack(below) }
}

/** Drops outer holds that are over, so that a loop which takes one connection after another needs no more memory. */
function skipEnded(mark: Mark | undefined): Mark | undefined {
  let outer = mark
  while (outer?.hold.state === 'over') outer = outer.outer
  return outer
}

async function settle<T>(result: T, hold: Hold): Promise<Awaited<T>> {
  try {
    return await result
  } finally {
    hold.state = 'over' // detached work goes on without a connection
  }
}
