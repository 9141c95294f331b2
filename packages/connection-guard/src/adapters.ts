import { beginHold, type Hold, type Holds } from './holds.ts'
import type { Callback } from './network.ts'

/** What the guard uses of postgres.js. */
export type PostgresClient = { begin: Callback; reserve: Callback }
/** What the guard uses of a pool of `pg`. */
export type PgPool = { connect: Callback; query: Callback } & {
  on: (event: 'release', listener: (error: Error, client: object) => void) => unknown
}
/** A database of Drizzle, or anything whose `transaction` takes a callback. */
export type TransactionRunner = { transaction: Callback }

type Method = (...args: unknown[]) => unknown

/** Guards the callback of a method, such as Drizzle's `transaction`. */
export function guardCallback<T extends object>(target: T, name: string, holds: Holds): T {
  replace(target, name, (method) => {
    const guarded = (...args: unknown[]) =>
      method(...args.map((arg) => (typeof arg === 'function' ? holds.wrap(arg, guarded) : arg)))
    return guarded
  })
  return target
}

/** Guards `begin` and `reserve` of postgres.js. */
export function guardPostgres<T extends PostgresClient>(sql: T, holds: Holds): T {
  replace(sql, 'reserve', (reserve) => {
    const guarded = () => {
      const hold = beginHold(guarded)
      holds.enter(hold, false)
      return open(hold, reserve()).then((reserved) => watchReserved(reserved, hold, holds))
    }
    return guarded
  })
  return guardCallback(sql, 'begin', holds)
}

/** Notes when a reserved connection is used and released. */
function watchReserved(reserved: object, hold: Hold, holds: Holds): object {
  const release = () => {
    hold.state = 'over'
    return Reflect.get(reserved, 'release')()
  }
  return new Proxy(reserved, {
    apply(target, self, args) {
      holds.use(hold)
      return Reflect.apply(Object(target), self, args)
    },
    get(target, name) {
      if (name === 'release') return release
      if (name !== 'then') holds.use(hold) // `await` reads `then`
      return Reflect.get(target, name)
    },
  })
}

/** Guards the clients that are taken from a pool of `pg`. */
export function guardPg<T extends PgPool>(pool: T, holds: Holds): T {
  const holdOf = new WeakMap<object, Hold>()
  let isQuerying = false

  const take = (client: object, hold: Hold) => {
    const isNew = !holdOf.has(client)
    holdOf.set(client, hold)
    if (!isNew) return client
    replace(client, 'query', (query) => (...args) => {
      holds.use(holdOf.get(client))
      return query(...args)
    })
    return client
  }
  const connectGuarded = (connect: Method) => {
    const guarded = (callback?: unknown) => {
      if (isQuerying) return connect(callback)
      const hold = beginHold(guarded)
      if (typeof callback !== 'function') {
        holds.enter(hold, false)
        return open(hold, connect()).then((client) => take(client, hold))
      }
      return connect((error: unknown, client: object | undefined, release: unknown) => {
        if (!client) return callback(error, client, release)
        return holds.run(hold, () => callback(error, take(client, hold), release))
      })
    }
    return guarded
  }

  pool.on('release', (_error, client) => {
    const hold = holdOf.get(client)
    if (hold) hold.state = 'over'
  })
  replace(pool, 'connect', connectGuarded)
  // `pool.query` calls `connect` and returns the client by itself.
  replace(pool, 'query', (query) => (...args) => {
    isQuerying = true
    try {
      return query(...args)
    } finally {
      isQuerying = false
    }
  })
  return pool
}

async function open(hold: Hold, connecting: unknown): Promise<object> {
  try {
    const connection: object = Object(await connecting)
    hold.state = 'open'
    return connection
  } catch (error) {
    hold.state = 'over'
    throw error
  }
}

function replace(target: object, name: string, change: (method: Method) => Method): void {
  Reflect.set(target, name, change(Reflect.get(target, name).bind(target)))
}
