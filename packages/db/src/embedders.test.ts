import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { createEmbedders } from './embedders.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 2 })
const { documents, owners } = createStore(db)
const embedders = createEmbedders(db)

afterAll(async () => {
  await close()
  await database.drop()
})

const chunk = { heading: 'Tides', content: 'The tide turns.', start: 0, end: 15 }

async function addDocument(name: string, title: string, model: string, embedding: number[]): Promise<string> {
  const owner = await owners.ensure(name)
  const { id } = await documents.add(owner, { title, text: `On ${title}.`, contentHash: title })
  await documents.addChunks(
    owner,
    id,
    model,
    [1, 2].map((start) => ({ ...chunk, start, embedding })),
  )
  return id
}

describe('across all owners', () => {
  it('documents are counted by model and width, except those without chunks', async () => {
    await documents.add(await owners.ensure('ada'), { title: '', text: '', contentHash: 'none' })
    await addDocument('ada', 'ebb', 'old', [1, 0])
    await addDocument('bob', 'flood', 'old', [1, 0])
    await addDocument('bob', 'moon', 'old', [1, 0, 0])
    await addDocument('ada', 'sun', 'new', [1, 0, 0, 0])
    expect(await embedders.countDocuments()).toEqual([
      { model: 'new', dimensions: 4, documents: 1 },
      { model: 'old', dimensions: 2, documents: 2 },
      { model: 'old', dimensions: 3, documents: 1 },
    ])
  })

  it('documents without chunks of a model are counted, and listed with their owners page by page', async () => {
    const first = await embedders.listWithout('new', 2)
    const all = [...first, ...(await embedders.listWithout('new', 2, first.at(-1)?.id))]
    expect([first.length, all.length, await embedders.countWithout('new')]).toEqual([2, 3, 3])
    const titles = await Promise.all(all.map(async ({ owner, id }) => (await documents.find(owner, id))?.title))
    expect(titles.toSorted()).toEqual(['ebb', 'flood', 'moon'])
    expect(await embedders.countWithout('old')).toBe(1)
  })

  it('chunks of other models are removed in batches, only from documents with chunks of this model', async () => {
    const id = await addDocument('ada', 'stars', 'old', [1, 0])
    const content = { title: 'stars', text: 'On stars.', pages: null }
    await db.execute(sql`update documents set text = 'On stars.' where id = ${id}`)
    const newChunks = [1, 2, 3].map((start) => ({ ...chunk, start, embedding: [1, 0, 0, 0] }))
    expect(await documents.addChunksForModel(await owners.ensure('ada'), id, 'new', newChunks, content)).toBe(true)
    expect(await embedders.countDocuments()).toContainEqual({ model: 'old', dimensions: 2, documents: 3 })
    const removed = [await embedders.removeOthers('new', 1), await embedders.removeOthers('new', 5)]
    expect([...removed, await embedders.removeOthers('new', 5)]).toEqual([1, 1, 0])
    expect(await embedders.countDocuments()).toEqual([
      { model: 'new', dimensions: 4, documents: 2 },
      { model: 'old', dimensions: 2, documents: 2 },
      { model: 'old', dimensions: 3, documents: 1 },
    ])
  })
})
