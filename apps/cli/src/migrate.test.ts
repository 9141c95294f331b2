import { connect, createStore, sql } from '@repo/db'
import { createTestDatabase, dropDatabase } from '@repo/db/testing'
import { runProgram } from '@repo/testing/processes'
import { afterAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'

const test = await createTestDatabase()
const server = connect({ url: test.directDatabaseUrl, poolSize: 1 })
const name = `empty_${crypto.randomUUID().replaceAll('-', '')}`
const empty = new URL(test.directDatabaseUrl)
empty.pathname = `/${name}`
const DIRECT_DATABASE_URL = empty.href
const upToDate = /^The database is up to date and has an index for offline-384 \(384 dimensions\)\.\n$/

beforeEach(async () => {
  await dropDatabase(name)
  await server.db.execute(sql`create database ${sql.identifier(name)}`)
})

afterAll(async () => {
  await dropDatabase(name)
  await server.close()
  await test.drop()
})

/** Counts the vector indexes. Throws if the tables do not exist. */
async function countIndexes() {
  const { db, close } = connect({ url: DIRECT_DATABASE_URL, poolSize: 1 })
  try {
    await createStore(db).owners.ensure('ada')
    return (await db.execute(sql`select from pg_indexes where indexdef like '%USING hnsw%'`)).length
  } finally {
    await close()
  }
}

describe('migrating', () => {
  it('creates the tables and the index and reports this in one line, also when repeated', async () => {
    for (let run = 0; run < 2; run += 1) {
      const output = { code: 0, out: expect.stringMatching(upToDate), err: '' }
      expect(await runProgram('apps/cli/dist/migrate.js', { DIRECT_DATABASE_URL })).toEqual(output)
      expect(await countIndexes()).toBe(1)
    }
  })

  it('succeeds in all of three concurrent runs', async () => {
    const runs = await Promise.all([1, 2, 3].map(() => runProgram('apps/cli/dist/migrate.js', { DIRECT_DATABASE_URL })))
    expect(runs).toEqual(runs.map(() => ({ code: 0, out: expect.stringMatching(upToDate), err: '' })))
    expect(await countIndexes()).toBe(1)
  })

  it('finds the terms of a small corpus again if the tokenizer has changed', async () => {
    await runProgram('apps/cli/dist/migrate.js', { DIRECT_DATABASE_URL })
    const { db, close } = connect({ url: DIRECT_DATABASE_URL, poolSize: 1 })
    onTestFinished(close)
    const store = createStore(db)
    const owner = await store.owners.ensure('ada')
    const { id } = await store.documents.add(owner, { title: 'Moon', text: '', contentHash: 'moon' })
    const chunk = { content: 'The moon is far away.', heading: '', start: 0, end: 1, embedding: Array(384).fill(0.1) }
    await store.documents.addChunks(owner, id, 'offline-384', [chunk])
    const readTerms = () => db.execute(sql`select tokenizer, terms from chunks`)
    const current = await readTerms()
    await db.execute(sql`update chunks set tokenizer = 'old', terms = '{}', weights = '{}/1000000000'`)

    const output = { code: 0, out: expect.stringMatching(upToDate), err: '' }
    expect(await runProgram('apps/cli/dist/migrate.js', { DIRECT_DATABASE_URL })).toEqual(output)
    expect(await readTerms()).toEqual(current)
  })

  it('creates the tables when the embedder cannot be reached, and says in one line what is left to do', async () => {
    const env = { DIRECT_DATABASE_URL, EMBEDDING_MODEL: 'away', OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' }
    const { code, out, err } = await runProgram('apps/cli/dist/migrate.js', env)
    expect(out).toMatch(
      /^The tables are up to date, but away has no index yet\. .*[^.\s]\. Run `npm run db:migrate` again\.\n$/,
    )
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(await countIndexes()).toBe(0)
  })

  it.each([
    ['DIRECT_DATABASE_URL is not set', ''],
    ['Migration failed: .*ECONNREFUSED', 'postgres://sluice:hunter2@127.0.0.1:9/sluice'],
    ['Migration failed: database "nowhere" does not exist', new URL('/nowhere', DIRECT_DATABASE_URL).href],
  ])('fails with one line: %s', async (complaint, url) => {
    const { code, out, err } = await runProgram('apps/cli/dist/migrate.js', { DIRECT_DATABASE_URL: url })
    expect(err).toMatch(new RegExp(`^${complaint}.*\n$`))
    expect(err).not.toContain('hunter2')
    expect({ code, out }).toEqual({ code: 1, out: '' })
  })
})
