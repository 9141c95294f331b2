import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql, TransactionSql } from 'postgres'
import { isOutage, isReadOnly, isRefusal } from '../errors.ts'

/** The state of the connection pool. */
export type Pool = {
  size: number
  countUsed: () => number
  countWaiting: () => number
  /** Sets the only listener. It is called after each wait for a connection, successful or not. */
  onWait: (listener: (waitedMs: number) => void) => void
  /** Returns how often connections were held, and the total time in ms, including retries. */
  countHeld: () => { times: number; ms: number }
}

type Semaphore = ReturnType<typeof createSemaphore>

/** All connections of the pool were in use until the wait timeout. */
class PoolBusyError extends Error {
  code = 'CONNECTION_WAIT_TIMEOUT' as const

  constructor(waitTimeoutMs: number) {
    super(`No connection was available within ${waitTimeoutMs} ms. Try again in a moment.`)
    this.name = 'PoolBusyError'
  }
}

/**
 * Wraps the driver's client so that it runs at most as many queries and transactions as it has connections. Others wait
 * here for at most `waitTimeoutMs` (`CONNECTION_WAIT_TIMEOUT`), because the driver's own queue has no timeout. The length
 * of the queue is not limited: how many queries can be served in time depends on the queries.
 * Statements that certainly did not run, because the server was unreachable, are retried until the same timeout.
 */
export function limitConcurrency(client: Sql, semaphore: Semaphore): Sql {
  const run = createRunner(
    semaphore,
    createDropper((query) => client.unsafe(query)),
  )

  /** Drizzle awaits the result, or calls `values` on it synchronously. `run` starts later, so it sees that call. */
  function unsafe(...args: Parameters<Sql['unsafe']>) {
    let query: ReturnType<Sql['unsafe']> | undefined
    let isRaw = false
    const send = () => {
      query = client.unsafe(...args)
      return isRaw ? query.values() : query
    }
    // The driver sets `state` when it assigns the query to a connection.
    const isUnsent = () => query !== undefined && Reflect.get(query, 'state') === null
    const result = run(send, (error) => isRefusal(error) || isUnsent())
    const values = () => {
      isRaw = true
      return result
    }
    return Object.assign(result, { values })
  }

  function begin(work: (tx: TransactionSql) => Promise<unknown>) {
    let hasBegun = false
    const runTransaction = () =>
      client.begin((tx) => {
        hasBegun = true
        return work(tx)
      })
    return run(runTransaction, () => !hasBegun) // BEGIN alone changes nothing
  }

  return new Proxy(client, {
    get: (target, name) => (name === 'unsafe' ? unsafe : name === 'begin' ? begin : Reflect.get(target, name)),
  })
}

/** Returns a function that runs work with a permit, and retries it while the database is unavailable and `mayRetry`. */
function createRunner({ acquire, release, waitTimeoutMs }: Semaphore, dropIfReadOnly: (error: unknown) => unknown) {
  return async <T>(work: () => Promise<T>, mayRetry: (error: unknown) => boolean): Promise<T> => {
    const deadline = performance.now() + waitTimeoutMs
    const acquiredAt = await acquire()
    try {
      for (let longestMs = 50; ; longestMs = Math.min(2 * longestMs, 1000)) {
        try {
          return await work()
        } catch (error) {
          await dropIfReadOnly(error)
          const pauseMs = longestMs * (0.5 + Math.random() / 2) // jitter: processes must not retry all at once
          if (!isOutage(error) || !mayRetry(error) || performance.now() + pauseMs > deadline) throw error
          await sleep(pauseMs)
        }
      }
    } finally {
      release(acquiredAt)
    }
  }
}

/** Closes a backend, and with it the connections that lead to it: those of the driver and of PgBouncer. */
const terminateIfReadOnly =
  "select pg_terminate_backend(pg_backend_pid()) where current_setting('transaction_read_only')::bool"
const dropIntervalMs = 100 // all 20 of PgBouncer's connections are closed within 2 s, and logins cost little CPU

/**
 * Returns a function that closes a connection after an error of a read-only database. After a failover, only new
 * connections reach the new primary.
 */
export function createDropper(query: (sql: string) => PromiseLike<unknown>) {
  let droppedAt = Number.NEGATIVE_INFINITY
  return async (error: unknown): Promise<void> => {
    if (!isReadOnly(error) || performance.now() - droppedAt < dropIntervalMs) return
    droppedAt = performance.now()
    await query(terminateIfReadOnly).then(undefined, () => {}) // the backend does not answer
  }
}

/**
 * Creates a fair semaphore with one permit per connection. `waitTimeoutMs` covers waiting for a permit and retries
 * together.
 */
export function createSemaphore(size: number, waitTimeoutMs: number) {
  let free = size
  const waiting = new Set<() => void>()
  let reportWait = (_waitedMs: number) => {}
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
      reportWait = listener
    },
    countHeld: () => ({ ...held }),
  }

  return {
    pool,
    waitTimeoutMs,
    /** Resolves with the time of acquisition, as in `performance.now()`. Throws `PoolBusyError`. */
    acquire: async () => {
      const startedAt = performance.now()
      if (free > 0) {
        free -= 1
        return startedAt
      }
      await wait().finally(() => reportWait(performance.now() - startedAt))
      return performance.now()
    },
    release: (acquiredAt: number) => {
      held.times += 1
      held.ms += performance.now() - acquiredAt
      const [next] = waiting
      if (next) next()
      else free += 1
    },
  }
}
