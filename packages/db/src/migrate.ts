import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import postgres, { type Sql } from 'postgres'
import type { Db } from './client.ts'
import { quoteLiteral } from './passages.ts'
import { migrateQueue } from './queue.ts'
import { chunks } from './schema.ts'

export type MigrateOptions = {
  /** Straight to Postgres: the lock and the index builds need one session, which a transaction pooler does not give. */
  directUrl: string
  /** The embedder in use, for its index; without it no index is made. `dimensions` is its vectors' width. */
  embedder?: { model: string; dimensions: number }
}

export const migrationsFolder = fileURLToPath(new URL('../migrations', import.meta.url))
/** The functions of a search, made anew each time: what is edited there needs no migration. */
const searchFile = fileURLToPath(new URL('search.sql', import.meta.url))

/** hnsw indexes of pgvector hold no wider halfvec; wider ones are searched exactly. */
export const widestIndex = 4000
/** Chunks that a search compares one by one in 3 ms. `npm start` loads 68, its samples. */
const mostUnindexed = 1000
/** Any number will do, so long as nothing else in this database locks it. */
const lockId = 7_305_411

/** Of the database and so of every session, written as Postgres shows them: `doctor` compares. */
export const databaseSettings = {
  statement_timeout: '10s', // requests take milliseconds; see `silenceTimeoutMs` in client.ts before you raise it
  lock_timeout: '5s', // rows are locked for milliseconds; who waits longer waits for something broken
  idle_in_transaction_session_timeout: '10s', // no transaction waits on anything but the database
  jit: 'off', // to compile a statement takes longer than to run any of ours
  // Goes on until enough rows are the owner's own (pgvector 0.8). A strict order would leave out what it meets too late.
  'hnsw.iterative_scan': 'relaxed_order',
  'hnsw.ef_search': '150', // finds 0.97 of the ten nearest among 100,000 of the offline embedder; 200 finds 0.95
}

/**
 * Brings a database to this version: tables, the queue, the settings that belong to the database, the embedder's index.
 * Safe when several start at once: they take turns. Throws when pgvector is older than 0.8.
 */
export async function migrate({ directUrl, embedder }: MigrateOptions): Promise<void> {
  await withSession(directUrl, async (db, client) => {
    await lock(db)
    await applyMigrations(db, { migrationsFolder })
    await client.file(searchFile)
    await migrateQueue(db)
    await configureDatabase(db)
    if (embedder) await createEmbeddingIndex(db, embedder)
  })
}

/**
 * For a bulk load, which is faster without the embedder's index: drops it, or gives false where there is none to build, or
 * so many chunks that somebody would miss it. `buildEmbeddingIndex` makes it anew, and so does `migrate`.
 */
export async function dropEmbeddingIndex({ directUrl, embedder }: Required<MigrateOptions>): Promise<boolean> {
  if (embedder.dimensions > widestIndex) return false
  return withSession(directUrl, async (db) => {
    const [row] = await db.execute<{ many: boolean }>(sql`
      select count(*) > ${mostUnindexed} as many from (select from ${chunks} limit ${mostUnindexed + 1}) as counted`)
    if (row?.many) return false
    await lock(db)
    const name = nameEmbeddingIndex(embedder.model, embedder.dimensions)
    await db.execute(sql`drop index concurrently if exists ${sql.identifier(name)}`) // else searches would wait
    return true
  })
}

/** Makes the embedder's index, if there is none. Documents are taken in and searched meanwhile. */
export async function buildEmbeddingIndex({ directUrl, embedder }: Required<MigrateOptions>): Promise<void> {
  await withSession(directUrl, async (db) => {
    await lock(db)
    await createEmbeddingIndex(db, embedder)
  })
}

/** In ms, 24 days: the driver leaves a 0, which is no limit, out of the startup options. */
const unlimited = 2_147_483_647
/** Startup options, so that they hold from the first statement: the database's own limits are for requests. */
const session = {
  statement_timeout: unlimited,
  lock_timeout: unlimited,
  maintenance_work_mem: '256MB', // an hnsw index is built fast while it fits in here: 200,000 vectors of 384 do
}

async function withSession<T>(directUrl: string, work: (db: Db, client: Sql) => Promise<T>): Promise<T> {
  const options = { max: 1, connect_timeout: 5, fetch_types: false, onnotice: () => {}, connection: session }
  const client = postgres(directUrl, options)
  try {
    return await work(drizzle(client), client)
  } finally {
    await client.end({ timeout: 5 }) // the end of the session is the end of its lock
  }
}

/** Polls: a session that waits inside `pg_advisory_lock` would itself block the other's CREATE INDEX CONCURRENTLY. */
async function lock(db: Db) {
  for (;;) {
    const [row] = await db.execute<{ locked: boolean }>(sql`select pg_try_advisory_lock(${lockId}) as locked`)
    if (row?.locked) return
    await sleep(200)
  }
}

/**
 * PgBouncer refuses these as startup parameters, and a plain SET would reach whoever has the connection next. They are the
 * database's, not the role's: the role may use other databases, and other roles this one.
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

/** Of hnsw's `ef_construction`. Twice its default takes 15 % longer and finds 0.06 more of the ten nearest. */
const buildEffort = sql.raw('m = 24, ef_construction = 200')

/** One partial index a model: its rows have one width, which the column itself does not have. */
async function createEmbeddingIndex(db: Db, { model, dimensions }: { model: string; dimensions: number }) {
  if (dimensions > widestIndex) return
  const name = nameEmbeddingIndex(model, dimensions)
  const [existing] = await db.execute<{ valid: boolean }>(sql`
    select indisvalid as valid from pg_index where indexrelid = to_regclass(${name})`)
  if (existing?.valid) return
  // A concurrent build that was cut short leaves an index that is never used.
  if (existing) await db.execute(sql`drop index concurrently ${sql.identifier(name)}`)
  await db.execute(sql`
    create index concurrently ${sql.identifier(name)} on chunks
    using hnsw ((embedding::${sql.raw(`halfvec(${dimensions})`)}) halfvec_cosine_ops) with (${buildEffort})
    where embedding_model = ${sql.raw(quoteLiteral(model))}`)
}

export function nameEmbeddingIndex(model: string, dimensions: number): string {
  return `chunks_embedding_${createHash('sha256').update(`${model} ${dimensions}`).digest('hex').slice(0, 12)}`
}

function compareVersions(left: string, right: string): number {
  return left.localeCompare(right, 'en', { numeric: true })
}
