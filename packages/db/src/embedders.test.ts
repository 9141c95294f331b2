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

describe('over all owners', () => {
  it('documents are counted by model and width, those without chunks left out', async () => {
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

  it('those of other models are found one after the other, each with its owner', async () => {
    const found: string[] = []
    let next = await embedders.findOther('new')
    while (next) {
      found.push(next.text)
      expect(await documents.find(next.owner, next.id)).toMatchObject({ title: next.title })
      next = await embedders.findOther('new', next.id)
    }
    expect(found.toSorted()).toEqual(['On ebb.', 'On flood.', 'On moon.'])
  })
})
