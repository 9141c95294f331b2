import { readFileSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { createPlaces, gateClient, type Pool } from './gate.ts'
import { holdConnection } from './guard.ts'

export type DatabaseOptions = {
  /** Through PgBouncer. */
  url: string
  /** Connections that this process opens at most. They are PgBouncer's clients, not Postgres' backends. */
  poolSize: number
  /**
   * How long a query or a transaction may wait for a connection, new attempts included. By default 5 s: a restart of
   * PgBouncer takes one or two, and few people wait longer than five for a page.
   */
  waitTimeoutMs?: number
  /**
   * How long the database may say nothing to a query before its connection is given up, which may leave open whether the
   * query ran. By default 25 s: above `query_wait_timeout` and `statement_timeout`, 10 s each, so that it never cuts off
   * what is only slow.
   */
  silenceTimeoutMs?: number
  /** Shown by PgBouncer and `pg_stat_activity`. */
  applicationName?: string
}

/** Without Drizzle's `$client`: the driver's own `begin` and `reserve` would pass the guard by. */
export type Db = PostgresJsDatabase
export type Database = { db: Db; pool: Pool; ping: (timeoutMs: number) => Promise<void>; close: () => Promise<void> }

/**
 * Opens a pool; connects at the first query. Queries built once with `.prepare('name')` travel as named statements,
 * which PgBouncer >= 1.21 tracks in transaction mode; others as unnamed ones.
 * Throws when the driver lacks this repository's patch.
 */
export function connect(options: DatabaseOptions): Database {
  assertDriverPatched()
  const { url, poolSize, waitTimeoutMs = 5000, silenceTimeoutMs = 25_000 } = options
  const client = postgres(url, {
    max: poolSize,
    connect_timeout: 5, // seconds; PgBouncer answers in milliseconds or is not there
    silence_timeout: silenceTimeoutMs / 1000,
    max_lifetime: null, // the driver would wait, perhaps for ever, until the other side ends an old connection too
    backoff: () => 0, // the gate paces attempts; the driver's own pauses grow to 20 s, long after the database is back
    fetch_types: false, // saves a catalogue query a connection, whose failure would be an unhandled rejection
    prepare: true,
    onnotice: () => {},
    connection: { application_name: options.applicationName ?? 'sluice' },
  })
  const places = createPlaces(poolSize, waitTimeoutMs)
  const db = guardTransactions(drizzle(gateClient(client, places)))
  return {
    db,
    pool: places.pool,
    /** Rejects when the database does not answer within `timeoutMs`. */
    ping: async (timeoutMs) => {
      await withDeadline(db.execute(sql`select 1`), timeoutMs)
    },
    close: () => client.end({ timeout: 5 }),
  }
}

/** Nested transactions need no wrapping: they run inside the context of the outermost. */
function guardTransactions(db: Db): Db {
  const transaction = db.transaction.bind(db)
  db.transaction = (work, config) => transaction((tx) => holdConnection(() => work(tx)), config)
  return db
}

async function withDeadline<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * `postgres` 3.4.9 dies, or runs a statement outside its transaction, when a connection breaks inside one; driver.test.ts
 * lists its faults. The patch in `patches/` is applied on install, but not with `--ignore-scripts`. Throws without it.
 * `driver` is the URL of the driver's entry.
 */
export function assertDriverPatched(driver = import.meta.resolve('postgres')) {
  const source = readFileSync(new URL('connection.js', driver), 'utf8')
  if (source.includes('silence_timeout')) return
  throw new Error(
    'The postgres driver is not patched: run `npx patch-package --patch-dir packages/db/patches`, then start again.',
  )
}
