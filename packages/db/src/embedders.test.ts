import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { createEmbedders } from './embedders.ts'
import { type DocumentJob, ingestQueue } from './jobs.ts'
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

  it('those of other models are queued a few at a time, each with its owner, and are searched meanwhile', async () => {
    expect([await embedders.requeue('new', 2), await embedders.requeue('new', 2)]).toEqual([2, 1])
    expect([await embedders.requeue('new', 2), await embedders.countWaiting('new')]).toEqual([0, 3])
    const jobs = await db.execute<{ data: DocumentJob }>(sql`
      select data from pgboss.job where name = ${ingestQueue} and id in (select version from documents where status = 'queued' and title <> '')`)
    const found: string[] = []
    for (const { data } of jobs) {
      const document = { id: data.documentId, version: data.version }
      expect(await documents.find(data.owner, document.id)).toMatchObject({ status: 'queued' })
      const begun = await documents.begin(data.owner, document)
      found.push(`${begun?.content.title}${begun?.upload ? ' anew' : ''}`)
    }
    expect(found.toSorted()).toEqual(['ebb', 'flood', 'moon'])
    expect(await embedders.countDocuments()).toHaveLength(3)
  })
})
