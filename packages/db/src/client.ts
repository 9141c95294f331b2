import { readFileSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { holdConnection } from './guard.ts'

export type DatabaseOptions = {
  /** Through PgBouncer. */
  url: string
  /** Connections that this process opens at most. They are PgBouncer's clients, not Postgres' backends. */
  poolSize: number
  /** Shown by PgBouncer and `pg_stat_activity`. */
  applicationName?: string
}

/** Without Drizzle's `$client`: the driver's own `begin` and `reserve` would pass the guard by. */
export type Db = PostgresJsDatabase
export type Database = { db: Db; ping: (timeoutMs: number) => Promise<void>; close: () => Promise<void> }

/**
 * Opens a pool; connects at the first query. Queries built once with `.prepare('name')` travel as named statements,
 * which PgBouncer >= 1.21 tracks in transaction mode; others as unnamed ones.
 * Throws when the driver lacks this repository's patch.
 */
export function connect(options: DatabaseOptions): Database {
  assertDriverPatched()
  const client = postgres(options.url, {
    max: options.poolSize,
    connect_timeout: 5, // seconds; PgBouncer answers in milliseconds or is not there
    backoff: () => 0.1, // seconds; the driver's own grows to 20, long after the database is back
    fetch_types: false, // saves a catalogue query a connection, whose failure would be an unhandled rejection
    prepare: true,
    onnotice: () => {},
    connection: { application_name: options.applicationName ?? 'sluice' },
  })
  const db = guardTransactions(drizzle(client))
  return {
    db,
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
 * `postgres` 3.4.9 dies, or runs a statement outside its transaction, when a connection breaks inside one
 * (porsager/postgres#1208, #1155). The patch in `patches/` is applied on install, but not with `--ignore-scripts`.
 * `driver` is the URL of the driver's entry.
 */
export function assertDriverPatched(driver = import.meta.resolve('postgres')) {
  const source = readFileSync(new URL('connection.js', driver), 'utf8')
  if (source.includes('if (query || sent.length)')) return
  throw new Error(
    'The postgres driver is not patched: run `npx patch-package --patch-dir packages/db/patches`, then start again.',
  )
}
