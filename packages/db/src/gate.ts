import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql, TransactionSql } from 'postgres'
import { isOutage, isRefusal } from './errors.ts'

/** How busy the connections are. */
export type Pool = {
  size: number
  countUsed: () => number
  countWaiting: () => number
  /** Calls `listener`, the only one, whenever somebody has waited: for how long, with success or without. */
  onWait: (listener: (waitedMs: number) => void) => void
  /** How many have given a connection back, and for how long they had it in all, new attempts included. */
  countHeld: () => { times: number; ms: number }
}

type Places = ReturnType<typeof createPlaces>

/** Every connection of the pool was busy for as long as a query may wait. */
class PoolBusyError extends Error {
  code = 'CONNECTION_WAIT_TIMEOUT' as const

  constructor(waitTimeoutMs: number) {
    super(`no connection was free within ${waitTimeoutMs} ms`)
    this.name = 'PoolBusyError'
  }
}

/**
 * The driver's client for Drizzle, with as many queries and transactions at once as it has connections: the others wait
 * here, where waiting ends after `waitTimeoutMs` (`CONNECTION_WAIT_TIMEOUT`), and not in the driver's endless queue. The
 * queue has no other bound: any length that can be served in time is right, and that depends on the queries.
 * What certainly did not run, since the server could not be reached, is tried again for as long; nothing else is.
 */
export function gateClient(client: Sql, places: Places): Sql {
  const pass = createGate(places)

  /** Drizzle awaits the result, or calls `values` on it at once; `pass` begins later than that. */
  function unsafe(...given: Parameters<Sql['unsafe']>) {
    let query: ReturnType<Sql['unsafe']> | undefined
    let isRaw = false
    const send = () => {
      query = client.unsafe(...given)
      return isRaw ? query.values() : query
    }
    // The driver notes in `state` which connection it gave the query to.
    const isUnsent = () => query !== undefined && Reflect.get(query, 'state') === null
    const result = pass(send, (error) => isRefusal(error) || isUnsent())
    const values = () => {
      isRaw = true
      return result
    }
    return Object.assign(result, { values })
  }

  function begin(work: (tx: TransactionSql) => Promise<unknown>) {
    let hasBegun = false
    const run = () =>
      client.begin((tx) => {
        hasBegun = true
        return work(tx)
      })
    return pass(run, () => !hasBegun) // a BEGIN alone changes nothing
  }

  return new Proxy(client, {
    get: (target, name) => (name === 'unsafe' ? unsafe : name === 'begin' ? begin : Reflect.get(target, name)),
  })
}

/** Gives a function that runs work in one of the places, and again while the database is away and `mayRepeat` allows. */
function createGate({ enter, leave, waitTimeoutMs }: Places) {
  return async <T>(work: () => Promise<T>, mayRepeat: (error: unknown) => boolean): Promise<T> => {
    const deadline = performance.now() + waitTimeoutMs
    const enteredAt = await enter()
    try {
      for (let longestMs = 50; ; longestMs = Math.min(2 * longestMs, 1000)) {
        try {
          return await work()
        } catch (error) {
          const pauseMs = longestMs * (0.5 + Math.random() / 2) // processes that lost the same server come back apart
          if (!isOutage(error) || !mayRepeat(error) || performance.now() + pauseMs > deadline) throw error
          await sleep(pauseMs)
        }
      }
    } finally {
      leave(enteredAt)
    }
  }
}

/**
 * As many places as the pool has connections; first come, first served. `waitTimeoutMs` is for a place and for new
 * attempts together.
 */
export function createPlaces(size: number, waitTimeoutMs: number) {
  let free = size
  const waiting = new Set<() => void>()
  let tellWait = (_waitedMs: number) => {}
  const held = { times: 0, ms: 0 }

  function wait(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      waiting.delete(admit)
      reject(new PoolBusyError(waitTimeoutMs))
    }, waitTimeoutMs)
    const admit = () => {
      clearTimeout(timer)
      waiting.delete(admit)
      resolve()
    }
    waiting.add(admit)
    return promise
  }

  const pool: Pool = {
    size,
    countUsed: () => size - free,
    countWaiting: () => waiting.size,
    onWait: (listener) => {
      tellWait = listener
    },
    countHeld: () => ({ ...held }),
  }

  return {
    pool,
    waitTimeoutMs,
    /** Gives the time, as `performance.now()` tells it. Throws `PoolBusyError`. */
    enter: async () => {
      const startedAt = performance.now()
      if (free > 0) {
        free -= 1
        return startedAt
      }
      await wait().finally(() => tellWait(performance.now() - startedAt))
      return performance.now()
    },
    leave: (enteredAt: number) => {
      held.times += 1
      held.ms += performance.now() - enteredAt
      const [next] = waiting
      if (next) next()
      else free += 1
    },
  }
}
