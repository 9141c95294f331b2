import { randomInt } from 'node:crypto'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import { readPostgresOptions } from './database-url.ts'
import { createEmbedders } from './embedders.ts'
import type { LanguageName } from './languages.ts'
import { databaseSettings, migrationsFolder, nameEmbeddingIndex } from './migrate.ts'
import { widestIndex } from './search-statement.ts'
import { createTermIndex } from './term-index.ts'

// Read-only queries of `npm run manage -- doctor` and `GET /metrics`. They need no privileges beyond those of the API.

/** Aborting the signal rejects the running query. */
export type Target = { url: string; signal: AbortSignal }

/** Returns the versions of Postgres and pgvector. pgvector is null if the extension is missing. */
export function readServer(target: Target): Promise<{ postgres: string; pgvector: string | null }> {
  return withClient(target, async (sql) => {
    const rows = await sql<{ postgres: string; pgvector: string | null }[]>`
      select current_setting('server_version') as postgres,
        (select extversion from pg_extension where extname = 'vector') as pgvector`
    return rows[0] ?? { postgres: '0', pgvector: null }
  })
}

/** Whether the target is a pooler. It reports a made-up backend pid on connect, while Postgres reports the real one. */
export function isPooled(target: Target): Promise<boolean> {
  return withClient(target, async (sql) => {
    const rows = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`
    return rows[0]?.pid !== rows.state.pid
  })
}

/** Whether two URLs lead to the same database: a lock taken in one is visible in the other. */
export function isSameDatabase(left: Target, right: Target): Promise<boolean> {
  const key = randomInt(2 ** 47)
  return withClient(left, (sql) =>
    sql.begin(async (tx) => {
      await tx`select pg_advisory_xact_lock(${key}::bigint)`
      return withClient(right, async (other) => {
        const [row] = await other<{ free: boolean }[]>`select pg_try_advisory_xact_lock(${key}::bigint) as free`
        return row?.free === false
      })
    }),
  )
}

export type Pooling = 'transaction' | 'transaction, without named statements' | 'session'

/** How many backends to occupy at most. The pooler picks any idle backend, so one is nearly always enough. */
const maxHolders = 4
/** Unknown statement, aborted transaction (caused by an unknown statement that the driver hides), duplicate statement. */
const lostStatementCodes = new Set(['26000', '25P02', '42P05'])

/**
 * Detects the pooling mode by occupying a client's backend with other transactions. In transaction mode the client gets
 * another backend, and the pooler must prepare its named statements there. The test query runs inside a transaction,
 * because outside one the driver would silently prepare a lost statement again.
 */
export function probePooling(target: Target): Promise<Pooling> {
  return withClient(target, async (sql) => {
    const readPid = () => sql.begin(async (tx) => (await tx<{ pid: number }[]>`select pg_backend_pid() as pid`)[0]?.pid)
    const before = await readPid()
    const getsAnother = (others: Sql, left: number): Promise<boolean> =>
      others.begin(async () => (await readPid()) !== before || (left > 1 && (await getsAnother(others, left - 1))))
    try {
      const hasChanged = await withClient(target, (others) => getsAnother(others, maxHolders), maxHolders)
      return hasChanged ? 'transaction' : 'session'
    } catch (error) {
      if (error instanceof postgres.PostgresError && lostStatementCodes.has(error.code))
        return 'transaction, without named statements'
      throw error
    }
  })
}

/** Returns PgBouncer's version and configuration. The user must be one of its `stats_users` or `admin_users`. */
export function readPgbouncer(target: Target) {
  return withClient(target, async (sql) => {
    const [row] = await sql.unsafe('show version').simple()
    const config = await sql.unsafe('show config').simple()
    const read = (key: string): string => config.find((entry) => entry.key === key)?.value ?? ''
    return {
      version: /\d[\d.]*/.exec(row?.version)?.[0] ?? '0',
      poolMode: read('pool_mode'),
      maxPreparedStatements: Number(read('max_prepared_statements')),
    }
  })
}

/** Returns PgBouncer's clients and connections of one database, summed over all roles. `target` as above. */
export function readPools(target: Target, database: string) {
  return withClient(target, async (sql) => {
    const pools = (await sql.unsafe('show pools').simple()).filter((pool) => pool.database === database)
    const databases = (await sql.unsafe('show databases').simple()).filter(({ name }) => name === database)
    const sum = (column: string) => pools.reduce((total, pool) => total + Number(pool[column]), 0)
    return {
      activeClients: sum('cl_active'),
      waitingClients: sum('cl_waiting'),
      activeServers: sum('sv_active'),
      idleServers: sum('sv_idle'),
      /** Maximum Postgres connections per role. */
      poolSize: Math.max(0, ...databases.map(({ pool_size: size }) => Number(size))),
      /** Waiting time of the longest waiting client. */
      longestWaitSeconds: Math.max(
        0,
        ...pools.map(({ maxwait, maxwait_us }) => Number(maxwait) + Number(maxwait_us) / 1e6),
      ),
    }
  })
}

/** Returns the number of migrations, how many are pending by the migrator's rule, and whether the database is newer. */
export function readMigrations(target: Target) {
  return withClient(target, async (sql) => {
    const times = readMigrationFiles({ migrationsFolder }).map(({ folderMillis }) => folderMillis)
    const [table] = await sql<{ exists: boolean }[]>`
      select to_regclass('drizzle.__drizzle_migrations') is not null as exists`
    const [row] = table?.exists
      ? await sql<
          { last: number }[]
        >`select coalesce(max(created_at), 0)::float8 as last from drizzle.__drizzle_migrations`
      : []
    const last = row?.last ?? 0
    const pending = times.filter((time) => time > last).length
    return { total: times.length, pending, isNewer: last > Math.max(...times) }
  })
}

/** Returns the settings of `db:migrate` that differ in this session. */
export function readDifferingSettings(target: Target) {
  return withClient(target, async (sql) => {
    const names = Object.keys(databaseSettings).join()
    const rows = await sql<{ name: string; value: string | null }[]>`
      select name, current_setting(name, true) as value from string_to_table(${names}, ',') as name`
    const values = new Map(rows.map(({ name, value }) => [name, value]))
    return Object.entries(databaseSettings)
      .map(([name, wanted]) => ({ name, wanted, value: values.get(name) || 'not set' }))
      .filter(({ wanted, value }) => value !== wanted)
  })
}

/** Counts documents by embedding model. */
export function countByEmbedder(target: Target) {
  return withClient(target, async (sql) => createEmbedders(drizzle(sql)).countDocuments())
}

/** Counts documents without vectors of this model. */
export function countWithoutEmbedder(target: Target, model: string) {
  return withClient(target, async (sql) => createEmbedders(drizzle(sql)).countWithout(model))
}

/** Returns whether chunks have the terms of another tokenizer. */
export function hasOutdatedTerms(target: Target, language?: LanguageName): Promise<boolean> {
  return withClient(target, async (sql) => createTermIndex(drizzle(sql), language).hasOutdated())
}

/** Whether the index for this model and width exists. Also true for widths that `db:migrate` does not index. */
export function hasEmbeddingIndex(target: Target, model: string, dimensions: number): Promise<boolean> {
  return withClient(target, async (sql) => {
    const [index] = await sql`
      select from pg_index where indexrelid = to_regclass(${nameEmbeddingIndex(model, dimensions)}) and indisvalid`
    return index !== undefined || dimensions > widestIndex
  })
}

/** Does not use `connect`, because the doctor must also work when the driver lacks the patch. */
async function withClient<T>({ url, signal }: Target, work: (sql: Sql) => Promise<T>, poolSize = 1): Promise<T> {
  signal.throwIfAborted()
  const target = readPostgresOptions(url)
  const connection = { application_name: 'sluice-inspect', ...target.connection }
  const sql = postgres({ ...target, max: poolSize, fetch_types: false, onnotice: () => {}, connection })
  const stop = () => void sql.end({ timeout: 0 })
  signal.addEventListener('abort', stop)
  try {
    return await work(sql)
  } finally {
    signal.removeEventListener('abort', stop)
    await sql.end({ timeout: 1 })
  }
}
