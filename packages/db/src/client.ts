import { sql } from 'drizzle-orm'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { readPostgresOptions } from './database-url.ts'
import { guardTransactions } from './driver/guard.ts'
import { createSemaphore, limitConcurrency, type Pool } from './driver/semaphore.ts'

export type DatabaseOptions = {
  /** The URL of PgBouncer. */
  url: string
  /** Maximum connections of this process. They are clients of PgBouncer, not Postgres backends. */
  poolSize: number
  /**
   * How long a query or transaction may wait for a connection, including retries. Default: 5 s. A restart of PgBouncer
   * takes 1 to 2 s, and few people wait longer than 5 s for a page.
   */
  waitTimeoutMs?: number
  /**
   * How long a query may go without a response before its connection is closed. The query may have run nevertheless.
   * Default: 25 s. This exceeds `query_wait_timeout` plus `statement_timeout` (10 s each), so slow queries never hit it.
   */
  silenceTimeoutMs?: number
  /** Shown in PgBouncer's console and `pg_stat_activity`. */
  applicationName?: string
}

/** Omits Drizzle's `$client`, because the driver's own `begin` and `reserve` would bypass the guard. */
export type Db = PostgresJsDatabase
export type Database = { db: Db; pool: Pool; ping: (timeoutMs: number) => Promise<void>; close: () => Promise<void> }

/**
 * Opens a pool, which connects with the first query. Queries built with `.prepare('name')` use named statements, which
 * PgBouncer 1.21 and later tracks in transaction mode. Other queries use unnamed statements.
 * Throws if the driver lacks this repository's patch.
 */
export function connect(options: DatabaseOptions): Database {
  assertDriverPatched()
  const { url, poolSize, waitTimeoutMs = 5000, silenceTimeoutMs = 25_000 } = options
  const target = readPostgresOptions(url)
  const client = postgres({
    ...target,
    max: poolSize,
    connect_timeout: 5, // seconds; PgBouncer accepts within milliseconds unless it is down
    silence_timeout: silenceTimeoutMs / 1000,
    max_lifetime: null, // the driver could wait forever for the other side to close an old connection
    backoff: () => 0, // gate.ts paces retries; the driver's own pauses grow to 20 s, which delays recovery
    fetch_types: false, // saves one catalogue query per connection, whose failure would be an unhandled rejection
    prepare: true,
    onnotice: () => {},
    connection: { application_name: options.applicationName ?? 'sluice', ...target.connection },
  })
  const semaphore = createSemaphore(poolSize, waitTimeoutMs)
  const db = guardTransactions(drizzle(limitConcurrency(client, semaphore)))
  return {
    db,
    pool: semaphore.pool,
    /** Rejects if the database does not respond within `timeoutMs`, or accepts no writes. */
    ping: async (timeoutMs) => {
      await withDeadline(db.execute(assertWritable), timeoutMs)
    },
    close: () => client.end({ timeout: 5 }),
  }
}

/** Fails as a write would, without writing. */
const assertWritable = sql.raw(`do $$ begin
  if current_setting('transaction_read_only')::bool then raise read_only_sql_transaction; end if;
end $$`)

async function withDeadline<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no response within ${timeoutMs} ms`)), timeoutMs)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Throws if the driver is not patched. When a connection breaks inside a transaction, unpatched `postgres` 3.4.9 crashes
 * the process or runs statements outside the transaction (see driver.test.ts). The patch in `patches/` is applied on
 * install, but not with `--ignore-scripts`.
 */
export function assertDriverPatched(driver: typeof postgres = postgres) {
  // An option that the patch adds. Nothing connects before a query.
  if ('silence_timeout' in driver('postgres://unused').options) return
  throw new Error(
    'The postgres driver is not patched. Run `npx patch-package --patch-dir packages/db/patches`, then `npm run build`, and restart.',
  )
}
