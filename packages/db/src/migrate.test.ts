import { readdirSync, readFileSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { connect, type Database } from './client.ts'
import { migrate } from './migrate.ts'
import { chunks } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase, dropDatabase } from './testing.ts'

const database = await createTestDatabase()
const { directDatabaseUrl: directUrl } = database
const { db, close } = connect({ url: directUrl, poolSize: 2 })
const pooled = connect({ url: database.databaseUrl, poolSize: 2 })

afterAll(async () => {
  await Promise.all([close(), pooled.close()])
  await database.drop()
})

describe('an empty database', () => {
  const name = `empty_${process.pid}_${Date.now()}`
  const url = new URL(directUrl)
  url.pathname = `/${name}`
  const embedder = { model: 'offline-384', dimensions: 384 }
  let empty: Database

  beforeAll(async () => {
    await db.execute(sql`create database ${sql.identifier(name)}`)
    empty = connect({ url: url.href, poolSize: 1 })
  })

  afterAll(async () => {
    await empty.close()
    await dropDatabase(name)
  })

  const applied = async () => [...(await empty.db.execute(sql`select * from drizzle.__drizzle_migrations order by id`))]

  it('is migrated once when five migrations start at once', async () => {
    await Promise.all(Array.from({ length: 5 }, () => migrate({ directUrl: url.href, embedder })))
    expect(await applied()).toHaveLength(journal.entries.length)
    await createStore(empty.db).owners.ensure('ada')
  })

  it('is left unchanged by the next migration', async () => {
    const [before, indexesBefore] = [await applied(), await listIndexes(empty)]
    await migrate({ directUrl: url.href, embedder })
    expect(await applied()).toEqual(before)
    expect(await listIndexes(empty)).toEqual(indexesBefore)
    expect(indexesBefore).toHaveLength(1)
  })
})

describe('the settings of the database', () => {
  it.each([
    ['statement_timeout', '10s'],
    ['lock_timeout', '5s'],
    ['idle_in_transaction_session_timeout', '10s'],
    ['jit', 'off'],
    ['hnsw.iterative_scan', 'relaxed_order'],
    ['hnsw.ef_search', '64'],
  ])('apply to a session through PgBouncer: %s is %s', async (name, value) => {
    const [row] = await pooled.db.execute(sql`select current_setting(${name}) as value`)
    expect(row).toEqual({ value })
  })

  it('do not limit a migration', async () => {
    const slow = await createTestDatabase()
    onTestFinished(slow.drop)
    const limit = async (name: string, value: string) => {
      const statement = `alter database ${new URL(slow.directDatabaseUrl).pathname.slice(1)} set ${name} = '${value}'`
      await db.execute(sql.raw(statement))
    }
    await limit('lock_timeout', '1ms')
    await limit('statement_timeout', '1ms')
    const embedder = { model: 'slow', dimensions: 3 }
    await migrate({ directUrl: slow.directDatabaseUrl, embedder })
    const after = connect({ url: slow.directDatabaseUrl, poolSize: 1 })
    onTestFinished(after.close)
    expect(await findIndexes('slow', after)).toHaveLength(1)
  })
})

describe('the index of an embedder', () => {
  it.each([
    ['narrow', 384],
    ['wide', 1536],
    ['O\'Reilly\'s \\ "model" %s', 8],
  ])('is built for the model %s with %i dimensions, once', async (model, dimensions) => {
    await migrate({ directUrl, embedder: { model, dimensions } })
    const made = await findIndexes(model)
    expect(made).toMatchObject([{ valid: true }])
    expect(made[0]?.definition).toContain(`halfvec(${dimensions})`)
    await migrate({ directUrl, embedder: { model, dimensions } })
    expect(await findIndexes(model)).toEqual(made)
  })

  it('is replaced when an interrupted build left an invalid one', async () => {
    const embedder = { model: 'interrupted', dimensions: 4 }
    const documentId = await addChunk(embedder.model, 5) // a width that makes the build fail
    await expect(migrate({ directUrl, embedder })).rejects.toThrow()
    expect(await findIndexes(embedder.model)).toMatchObject([{ valid: false }])
    await db.delete(chunks).where(sql`document_id = ${documentId}`)
    await migrate({ directUrl, embedder })
    expect(await findIndexes(embedder.model)).toMatchObject([{ valid: true }])
  })

  it('is not built for 5,000 dimensions, which are still searched', async () => {
    const embedder = { model: 'widest', dimensions: 5000 }
    await migrate({ directUrl, embedder })
    expect(await findIndexes(embedder.model)).toEqual([])
    const documentId = await addChunk(embedder.model, 5000)
    const { owners, passages } = createStore(pooled.db)
    const search = { text: 'no such word', embedding: JSON.stringify(unit(5000)), embeddingModel: 'widest', limit: 5 }
    expect(await passages.search(await owners.ensure('ada'), search)).toMatchObject([{ documentId }])
  })
})

it('reports the installed pgvector version when it is too old', async () => {
  // No test server has an old pgvector, so a table that shadows the catalogue simulates it.
  await db.execute(sql`create schema past`)
  await db.execute(sql`create table past.pg_extension as select 'vector' as extname, '0.7.4' as extversion`)
  const name = sql.identifier(new URL(directUrl).pathname.slice(1))
  await db.execute(sql`alter database ${name} set search_path = past, pg_catalog, public`)
  await expect(migrate({ directUrl })).rejects.toThrow('pgvector 0.7.4 is too old: 0.8 or newer is needed.')
})

describe('the journal of migrations', () => {
  it('has increasing timestamps, because Drizzle skips migrations older than the last applied one', () => {
    const times = journal.entries.map(({ when }) => when)
    expect(times).toEqual(times.toSorted((left, right) => left - right))
    expect(new Set(times).size).toBe(times.length)
  })

  it('lists every file in order', () => {
    const files = readdirSync(new URL('../migrations', import.meta.url)).filter((file) => file.endsWith('.sql'))
    expect(journal.entries.map(({ tag }) => `${tag}.sql`)).toEqual(files.toSorted())
  })
})

const journal: { entries: { when: number; tag: string }[] } = JSON.parse(
  readFileSync(new URL('../migrations/meta/_journal.json', import.meta.url), 'utf8'),
)

const unit = (width: number) => Array.from({ length: width }, (_, n) => (n === 0 ? 1 : 0))

async function addChunk(model: string, width: number): Promise<string> {
  const { owners, documents } = createStore(pooled.db)
  const owner = await owners.ensure('ada')
  const { id } = await documents.add(owner, { title: model, text: '', contentHash: model })
  await documents.addChunks(owner, id, model, [
    { heading: '', content: 'text', start: 0, end: 4, embedding: unit(width) },
  ])
  return id
}

async function listIndexes({ db: on }: { db: Database['db'] } = { db }) {
  return [
    ...(await on.execute<{ id: number; definition: string; valid: boolean }>(sql`
      select indexrelid::int as id, pg_get_indexdef(indexrelid) as definition, indisvalid as valid
      from pg_index where indexrelid::regclass::text like 'chunks_embedding_%' order by 1`)),
  ]
}

async function findIndexes(model: string, on?: Database) {
  const literal = `'${model.replaceAll("'", "''")}'`
  return (await listIndexes(on)).filter(({ definition }) => definition.includes(`embedding_model = ${literal}`))
}
