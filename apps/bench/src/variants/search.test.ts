import { connect, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { ingestDocument } from '@repo/rag'
import { mockEmbedding } from '@repo/testing/mock-model/embedding'
import { afterAll, expect, it } from 'vitest'
import { connectRaw, ensureOwner } from './raw-queries.ts'
import { prepareVectorSearch } from './raw-search.ts'

const embeddingModel = 'mock-embed-16'
const embed = (text: string) => mockEmbedding(text, 16)
const questions = ['Which room opens late?', 'Room 7', 'floor 3 at nine', 'nothing of this']

const test = await createTestDatabase()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
const sql = connectRaw(test.databaseUrl, 1)
const store = createStore(db)
const owner = await ensureOwner(sql)
const other = await store.owners.ensure('other')
const embedder = { name: embeddingModel, embed: async (texts: string[]) => texts.map(embed) }
for (let room = 0; room < 12; room += 1) {
  const text = `Room ${room} opens ${room % 3 ? 'at nine' : 'late'}, floor ${room % 4}.`
  await ingestDocument({ store, embedder }, room === 5 ? other : owner, { title: `Room ${room}`, text })
}

afterAll(async () => {
  await Promise.all([close(), sql.end()])
  await test.drop()
})

it('the vector search of the raw servers finds the six nearest passages of an owner', async () => {
  const search = prepareVectorSearch(embeddingModel)
  for (const question of questions) {
    const embedding = JSON.stringify(embed(question))
    const nearest = await sql`
      select id from chunks where owner_id = ${owner} order by embedding <=> ${embedding}::text::halfvec limit 6`
    const found = await search(sql, owner, embedding)
    expect(found.map(({ chunkId }) => chunkId)).toEqual(nearest.map(({ id }) => id))
    expect(found[0]).toMatchObject({ heading: found[0]?.title, text: expect.stringContaining('opens'), page: null })
  }
})
