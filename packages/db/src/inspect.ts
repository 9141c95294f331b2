import { randomInt } from 'node:crypto'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import { createEmbedders } from './embedders.ts'
import { databaseSettings, migrationsFolder, nameEmbeddingIndex, widestIndex } from './migrate.ts'

// What `npm run manage -- doctor` and `GET /metrics` ask of a database. Nothing here writes, or needs a right that the API's role lacks.

/** Aborting the signal ends what is under way: it rejects. */
export type Target = { url: string; signal: AbortSignal }

/** Which server and which pgvector answer; the extension is null where the database does not have it. */
export function readServer(target: Target): Promise<{ postgres: string; pgvector: string | null }> {
  return withClient(target, async (sql) => {
    const rows = await sql<{ postgres: string; pgvector: string | null }[]>`
      select current_setting('server_version') as postgres,
        (select extversion from pg_extension where extname = 'vector') as pgvector`
    return rows[0] ?? { postgres: '0', pgvector: null }
  })
}

/** Postgres tells a client its backend's number when it connects; a pooler, whose backends change, tells another one. */
export function isPooled(target: Target): Promise<boolean> {
  return withClient(target, async (sql) => {
    const rows = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`
    return rows[0]?.pid !== rows.state.pid
  })
}

/** A lock is seen in its own database alone. */
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

/** How others' transactions are kept busy: the pooler picks one of its idle backends, so the first nearly always does. */
const maxHolders = 4
/** Unknown statement; transaction aborted, by the former, which the driver hides; statement exists already. */
const lostStatement = new Set(['26000', '25P02', '42P05'])

/**
 * What a pooler does for a client whose backend is busy with others' transactions: in transaction mode it gives another
 * one, and the client's named statements have to come along. Asked inside a transaction, because outside of one the
 * driver would prepare the statement anew and nobody would know.
 */
export function probePooling(target: Target): Promise<Pooling> {
  return withClient(target, async (sql) => {
    const ask = () => sql.begin(async (tx) => (await tx<{ pid: number }[]>`select pg_backend_pid() as pid`)[0]?.pid)
    const before = await ask()
    const isGivenAnother = (others: Sql, left: number): Promise<boolean> =>
      others.begin(async () => (await ask()) !== before || (left > 1 && (await isGivenAnother(others, left - 1))))
    try {
      const isGiven = await withClient(target, (others) => isGivenAnother(others, maxHolders), maxHolders)
      return isGiven ? 'transaction' : 'session'
    } catch (error) {
      if (error instanceof postgres.PostgresError && lostStatement.has(error.code))
        return 'transaction, without named statements'
      throw error
    }
  })
}

/** What PgBouncer's own console says. `target` is of a user that it knows as `stats_users` or `admin_users`. */
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

/** How busy PgBouncer's clients and its connections to one database are, whatever their roles; `target` as above. */
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
      /** Connections to Postgres that one role may have at once. */
      poolSize: Math.max(0, ...databases.map(({ pool_size: size }) => Number(size))),
      /** How long the first in the queue has waited. */
      longestWaitSeconds: Math.max(
        0,
        ...pools.map(({ maxwait, maxwait_us }) => Number(maxwait) + Number(maxwait_us) / 1e6),
      ),
    }
  })
}

/** How many migrations this version has, lack in the database by the migrator's own rule, and whether it has newer ones. */
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

/** The settings that `db:migrate` makes and this session does not have. */
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

/** Of which embedders the stored vectors are, in documents. */
export function countByEmbedder(target: Target) {
  return withClient(target, async (sql) => createEmbedders(drizzle(sql)).countDocuments())
}

/** How many documents this model has no vectors of. */
export function countWithoutEmbedder(target: Target, model: string) {
  return withClient(target, async (sql) => createEmbedders(drizzle(sql)).countWithout(model))
}

/** Whether `db:migrate` has made, or would not make, the index for vectors of this model and width. */
export function hasEmbeddingIndex(target: Target, model: string, dimensions: number): Promise<boolean> {
  return withClient(target, async (sql) => {
    const [index] = await sql`
      select from pg_index where indexrelid = to_regclass(${nameEmbeddingIndex(model, dimensions)}) and indisvalid`
    return index !== undefined || dimensions > widestIndex
  })
}

/** Not through `connect`: a doctor also looks at a setup whose driver lacks the patch. */
async function withClient<T>({ url, signal }: Target, work: (sql: Sql) => Promise<T>, poolSize = 1): Promise<T> {
  signal.throwIfAborted()
  const connection = { application_name: 'sluice-inspect' }
  const sql = postgres(url, { max: poolSize, fetch_types: false, onnotice: () => {}, connection })
  const stop = () => void sql.end({ timeout: 0 })
  signal.addEventListener('abort', stop)
  try {
    return await work(sql)
  } finally {
    signal.removeEventListener('abort', stop)
    await sql.end({ timeout: 1 })
  }
}
