import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import type { Db } from './client.ts'
import { readPostgresOptions } from './database-url.ts'
import { migrateQueue } from './queue.ts'
import { chunks } from './schema.ts'
import { widestIndex } from './search-statement.ts'
import { quoteLiteral } from './text.ts'

export type MigrateOptions = {
  /**
   * Connects directly to Postgres. The lock and the index builds need one session, which a transaction pooler does not
   * provide.
   */
  directUrl: string
  /** The current embedder, for its index. Unset: no index is built. `dimensions` is the width of its vectors. */
  embedder?: { model: string; dimensions: number }
}

export const migrationsFolder = fileURLToPath(new URL('../migrations', import.meta.url))
/** An exact search over this many chunks takes 3 ms. The samples of `npm start` have 68. */
const mostUnindexed = 1000
/** Any number works as long as nothing else in this database uses it as a lock. */
const lockId = 7_305_411

/**
 * Settings of the database, and so of every session. They are written as Postgres prints them, because `doctor`
 * compares them.
 */
export const databaseSettings = {
  statement_timeout: '10s', // requests take milliseconds; see `silenceTimeoutMs` in client.ts before you increase it
  lock_timeout: '5s', // rows are locked for milliseconds; a longer wait means that something is broken
  idle_in_transaction_session_timeout: '10s', // transactions wait for nothing but the database
  jit: 'off', // compiling a statement takes longer than running any of ours
  // Iterates until the owner has enough rows (pgvector 0.8). A strict order would drop rows that are found too late.
  'hnsw.iterative_scan': 'relaxed_order',
  'hnsw.ef_search': '64', // more than the 50 that a search asks for
}

/**
 * Migrates a database to this version: tables, the queue, database settings and the embedder's index. Concurrent calls
 * run one after another. Throws if pgvector is older than 0.8.
 */
export async function migrate({ directUrl, embedder }: MigrateOptions): Promise<void> {
  await withSession(directUrl, async (db) => {
    await lock(db)
    await applyMigrations(db, { migrationsFolder })
    await migrateQueue(db)
    await configureDatabase(db)
    if (embedder) await createEmbeddingIndex(db, embedder)
  })
}

/** Applies the database's settings. Copies of a migrated database lack nothing else. */
export async function applySettings(directUrl: string): Promise<void> {
  await withSession(directUrl, configureDatabase)
}

/**
 * Drops the embedder's index, because a bulk load is faster without it. Returns false if there is no index to build, or
 * if there are so many chunks that searches need it. `buildEmbeddingIndex` and `migrate` build it again.
 */
export async function dropEmbeddingIndex({ directUrl, embedder }: Required<MigrateOptions>): Promise<boolean> {
  if (embedder.dimensions > widestIndex) return false
  return withSession(directUrl, async (db) => {
    const [row] = await db.execute<{ many: boolean }>(sql`
      select count(*) > ${mostUnindexed} as many from (select from ${chunks} limit ${mostUnindexed + 1}) as counted`)
    if (row?.many) return false
    await lock(db)
    const name = nameEmbeddingIndex(embedder.model, embedder.dimensions)
    await db.execute(sql`drop index concurrently if exists ${sql.identifier(name)}`) // otherwise searches would wait
    return true
  })
}

/** Builds the embedder's index if it is missing. Documents can be ingested and searched in the meantime. */
export async function buildEmbeddingIndex({ directUrl, embedder }: Required<MigrateOptions>): Promise<void> {
  await withSession(directUrl, async (db) => {
    await lock(db)
    await createEmbeddingIndex(db, embedder)
  })
}

/** In ms, 24 days. The driver omits a 0, which means no limit, from the startup options. */
const unlimited = 2_147_483_647
/** Startup options, so that they apply from the first statement. The database's own limits are meant for requests. */
const session = {
  statement_timeout: unlimited,
  lock_timeout: unlimited,
  maintenance_work_mem: '256MB', // hnsw builds are fast while they fit in memory: 200,000 vectors of 384 do
}

async function withSession<T>(directUrl: string, work: (db: Db) => Promise<T>): Promise<T> {
  const options = { max: 1, connect_timeout: 5, fetch_types: false, onnotice: () => {} }
  const target = readPostgresOptions(directUrl)
  const client = postgres({ ...target, ...options, connection: { ...target.connection, ...session } })
  try {
    return await work(drizzle(client))
  } finally {
    await client.end({ timeout: 5 }) // ending the session releases its lock
  }
}

/** Polls, because a session waiting in `pg_advisory_lock` would block the other's CREATE INDEX CONCURRENTLY. */
async function lock(db: Db) {
  for (;;) {
    const [row] = await db.execute<{ locked: boolean }>(sql`select pg_try_advisory_lock(${lockId}) as locked`)
    if (row?.locked) return
    await sleep(200)
  }
}

/**
 * PgBouncer rejects these as startup parameters, and a plain SET would affect the connection's next client. They are
 * set on the database, because the role may use other databases, and other roles may use this one.
 */
async function configureDatabase(db: Db) {
  const [row] = await db.execute<{ database: string; version: string }>(sql`
    select current_database() as database, extversion as version, '[1]'::vector as loads_the_settings
    from pg_extension where extname = 'vector'`)
  if (!row || compareVersions(row.version, '0.8.0') < 0) {
    throw new Error(`pgvector ${row?.version ?? ''} is too old: 0.8 or newer is needed.`)
  }
  for (const [name, value] of Object.entries(databaseSettings)) {
    const database = sql.identifier(row.database)
    await db.execute(sql`alter database ${database} set ${sql.raw(name)} = ${sql.raw(quoteLiteral(value))}`)
  }
}

/** One partial index per model, because its rows have one width and the column has none. */
async function createEmbeddingIndex(db: Db, { model, dimensions }: { model: string; dimensions: number }) {
  if (dimensions > widestIndex) return
  const name = nameEmbeddingIndex(model, dimensions)
  const [existing] = await db.execute<{ valid: boolean }>(sql`
    select indisvalid as valid from pg_index where indexrelid = to_regclass(${name})`)
  if (existing?.valid) return
  // An interrupted concurrent build leaves an invalid index that is never used.
  if (existing) await db.execute(sql`drop index concurrently ${sql.identifier(name)}`)
  await db.execute(sql`
    create index concurrently ${sql.identifier(name)} on chunks
    using hnsw ((embedding::${sql.raw(`halfvec(${dimensions})`)}) halfvec_cosine_ops)
    where embedding_model = ${sql.raw(quoteLiteral(model))}`)
}

export function nameEmbeddingIndex(model: string, dimensions: number): string {
  return `chunks_embedding_${createHash('sha256').update(`${model} ${dimensions}`).digest('hex').slice(0, 12)}`
}

function compareVersions(left: string, right: string): number {
  return left.localeCompare(right, 'en', { numeric: true })
}
