import { readManageConfig } from '@repo/config'
import { connect, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createModels } from '@repo/models'
import { ingestDocument, retrievePassages } from '@repo/rag'
import { runProgram } from '@repo/testing/processes'
import { afterAll, describe, expect, it } from 'vitest'

const test = await createTestDatabase()
const DATABASE_URL = test.databaseUrl
const database = connect({ url: DATABASE_URL, poolSize: 1 })
const store = createStore(database.db)
const owner = await store.owners.ensure('local')
const titles = [
  'Connection pooling',
  'Hybrid search',
  'PgBouncer and transaction mode',
  'Retrieval-augmented generation with pgvector',
  'Streaming answers with server-sent events',
  'What Sluice does',
  'Why async servers exhaust Postgres',
]

afterAll(async () => {
  await database.close()
  await test.drop()
})

const seed = (env: Record<string, string> = {}) => runProgram('apps/cli/dist/seed.js', { DATABASE_URL, ...env })
const list = async () => (await store.documents.list(owner, 100)).toSorted((a, b) => (a.title < b.title ? -1 : 1))
const away = { EMBEDDING_MODEL: 'away', OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' }

describe('the sample documents', () => {
  it('are stored but cannot be searched while the embedder is down, which is reported for each', async () => {
    const { code, out, err } = await seed(away)
    expect(out).toMatch(/^(.+ cannot be searched yet\. .*\S\. The next start will retry\.\n){7}$/)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect((await list()).map(({ title, status }) => `${title} ${status}`)).toEqual(
      titles.map((title) => `${title} failed`),
    )
  })

  it('become ready without a key, and stay as they are the next time', async () => {
    expect(await seed()).toEqual({ code: 0, out: '', err: '' })
    const documents = await list()
    expect(documents.map(({ title }) => title)).toEqual(titles)
    expect(new Set(documents.map(({ status }) => status))).toEqual(new Set(['ready']))
    expect(await seed()).toEqual({ code: 0, out: '', err: '' })
    expect(await list()).toEqual(documents)
  })

  it.each([
    ['Why does this project use PgBouncer?', 'Sluice uses PgBouncer because many processes'],
    ['What is connection pooling?', 'Connection pooling means that many clients share'],
    ['Why do async servers exhaust Postgres?', 'Async servers exhaust Postgres because'],
    ['What does not work in transaction mode?', 'unsafe in transaction mode, because'],
    ['Why not WebSockets?', 'Sluice uses server-sent events and not WebSockets because'],
    ['What is an embedding?', 'An embedding is a list of numbers'],
    ['What is hybrid search?', 'Hybrid search combines keyword search and vector search'],
    ['How do I stop an answer?', 'POST /chat/:id/stop'],
  ])('answer %j with a citation, without a key', async (question, quote) => {
    const { chat, embedder } = createModels(readManageConfig({ DATABASE_URL }))
    const found = await retrievePassages({ store, embedder }, owner, question, { limit: 6 })
    const passages = found.map(({ title, text }, index) => ({ n: index + 1, title, text }))
    const messages = [{ role: 'user', content: question } as const]
    const { signal } = new AbortController()
    let answer = ''
    for await (const batch of await chat.stream({ messages, passages, signal }))
      for (const event of batch) if (event.type === 'text-delta') answer += event.text
    expect(answer).toContain(quote)
    expect(answer).toMatch(/\[\d\]/)
  })

  it('replace their older versions and nothing else', async () => {
    const before = await list()
    const [sample] = before
    if (!sample) throw new Error('no sample')
    const externalId = sample.externalId ?? ''
    const embedder = createModels(readManageConfig({ DATABASE_URL })).embedder
    const older = { title: sample.title, text: 'A zeppelin lands.', externalId }
    await ingestDocument({ store, embedder }, owner, older)
    await ingestDocument({ store, embedder }, owner, { title: '(My own)', text: 'Mine.' })
    const find = async (text: string) =>
      (await retrievePassages({ store, embedder }, owner, text, { limit: 1 })).map(({ documentId, text }) => ({
        documentId,
        text,
      }))

    await seed(away)
    expect(await find('A zeppelin lands.')).toEqual([{ documentId: sample.id, text: 'A zeppelin lands.' }]) // the older version still works
    await seed()
    const after = await list()
    expect(after.map(({ title }) => title)).toEqual(['(My own)', ...titles])
    expect(after[1]).toMatchObject({ id: sample.id, status: 'ready' })
    expect(await find('A zeppelin lands.')).not.toContainEqual({ documentId: sample.id, text: 'A zeppelin lands.' })
  })

  it('cannot be loaded without a database, which is reported in one line', async () => {
    const { code, err } = await seed({ DATABASE_URL: 'postgres://sluice:hunter2@127.0.0.1:9/sluice' })
    expect(err).toMatch(/^Failed to load the sample documents: .*ECONNREFUSED.*\n$/)
    expect(err).not.toContain('hunter2')
    expect(code).toBe(1)
  })
})
