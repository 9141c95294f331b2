import { connect, createStore, sql } from '@repo/db'
import { dropDatabase } from '@repo/db/testing'
import { retrievePassages } from '@repo/rag'
import { mockEmbedding } from '@repo/testing/mock-model/embedding'
import { expect, it, onTestFinished } from 'vitest'
import { createDatabases } from './databases.ts'
import { embedder } from './fill.ts'
import { createTexts } from './texts.ts'

const chunks = 120 // more than two documents
const { DATABASE_URL: databaseUrl = '', DIRECT_DATABASE_URL: directDatabaseUrl = '' } = process.env

it('a database is filled once, indexed, searchable, and without earlier conversations each time', async () => {
  await dropDatabase(`corpus_${chunks}`)
  const lines: string[] = []
  const open = createDatabases({ databaseUrl, directDatabaseUrl }, (line) => lines.push(line), AbortSignal.abort())
  await expect(open(chunks)).rejects.toThrow('aborted')
  await dropDatabase(`corpus_${chunks}`)

  const { signal } = new AbortController()
  const openAgain = createDatabases({ databaseUrl, directDatabaseUrl }, (line) => lines.push(line), signal)
  const urls = await openAgain(chunks)
  const { db, close } = connect({ url: urls.databaseUrl, poolSize: 1 })
  onTestFinished(async () => {
    await close()
    await dropDatabase(`corpus_${chunks}`)
  })
  const store = createStore(db)
  const owner = await store.owners.ensure('local')
  const count = async (table: string) => {
    const [row] = await db.execute<{ count: number }>(sql`select count(*)::int from ${sql.identifier(table)}`)
    return row?.count
  }
  expect([await count('chunks'), await count('documents')]).toEqual([chunks, 3])
  const indexes = await db.execute(sql`
    select from pg_index where indrelid = 'chunks'::regclass and indisvalid
      and pg_get_indexdef(indexrelid) like ${`%hnsw%halfvec(${embedder.dimensions})%${embedder.model}%`}`)
  expect(indexes).toHaveLength(1)

  const embedQuery = async (text: string) => JSON.stringify(mockEmbedding(text, embedder.dimensions))
  const options = { store, embedder: { name: embedder.model, embedQuery } }
  expect(await retrievePassages(options, owner, createTexts(1).ask(), { limit: 6 })).toHaveLength(6)

  const turn = { conversationId: 'c', questionId: 'q', answerId: 'a', title: 'Why?', question: 'Why?' }
  await store.turns.open(owner, turn)
  await store.documents.add(owner, { title: 'Queued', text: 'Not ingested.', contentHash: 'queued' })
  expect(await openAgain(chunks)).toBe(urls)
  expect([await count('messages'), await count('documents'), await count('chunks')]).toEqual([0, 3, chunks])
  expect(lines.filter((line) => line.startsWith('filling'))).toHaveLength(2)
})
