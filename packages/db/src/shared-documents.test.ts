import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, sql } from './index.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

// Ada and Bob belong to Acme, Eve to another organization. Each has a document of her own, and both organizations have
// shared ones.

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 4 })
const { owners, documents, passages } = createStore(db)
const { owner: ada, organization: acme = '' } = await owners.ensureMember('ada', 'acme')
const bob = await owners.ensure('bob')
const { owner: eve, organization: globex = '' } = await owners.ensureMember('eve', 'globex')

afterAll(async () => {
  await close()
  await database.drop()
})

const model = 'test-4'
const ids = new Map<string, string>()

async function add(owner: string, content: string, embedding = [1, 0, 0, 0]) {
  const { id, version } = await documents.add(owner, { title: content, text: '', contentHash: content })
  const chunk = { heading: '', content, start: 0, end: content.length, embedding }
  await documents.addChunks(owner, id, model, [chunk], { title: content, text: content, pages: null, version })
  ids.set(content, id)
  return id
}

beforeAll(async () => {
  for (const [owner, name] of Object.entries({ [ada]: 'Ada', [bob]: 'Bob', [eve]: 'Eve', [acme]: 'Acme' }))
    await add(owner, `${name} keeps a tide table`)
  await add(globex, 'Globex keeps a tide table')
  for (let n = 0; n < 20; n += 1) await add(acme, `Acme page ${n} of the ferry`, [0, 1, 0, 0])
})

async function find(
  owner: string,
  organization?: string,
  options: { text?: string; scope?: object; vector?: boolean } = {},
) {
  const { text = 'tide table', scope, vector = true } = options
  const embedding = vector ? '[1,0,0,0]' : null
  const found = await passages.search(owner, { text, embedding, embeddingModel: model, limit: 50, scope, organization })
  return found.filter((passage) => passage.textRank || (passage.vectorDistance ?? 1) < 0.5)
}
const textsOf = async (...args: Parameters<typeof find>) => (await find(...args)).map(({ text }) => text).toSorted()

describe.each([true, false])('a search, with vectors: %s,', (vector) => {
  it.each([
    ['a member', ada, acme, ['Acme keeps a tide table', 'Ada keeps a tide table']],
    ['another member', bob, acme, ['Acme keeps a tide table', 'Bob keeps a tide table']],
    ['a member of another organization', eve, globex, ['Eve keeps a tide table', 'Globex keeps a tide table']],
    ['an owner without one', eve, undefined, ['Eve keeps a tide table']],
  ])('by %s covers own and shared documents', async (_, owner, organization, texts) => {
    expect(await textsOf(owner, organization, { vector })).toEqual(texts)
    expect(await textsOf(owner, organization, { vector, scope: { filter: {} } })).toEqual(texts)
    const documentIds = [...ids.values()]
    expect(await textsOf(owner, organization, { vector, scope: { documentIds } })).toEqual(texts)
  })
})

it('scores a word alike in own and shared documents', async () => {
  const [first, second] = await find(ada, acme, { vector: false })
  expect(first?.textScore).toBeCloseTo(second?.textScore ?? 0, 6)
})

it('scores the same with and without statistics of Postgres', async () => {
  const before = await find(ada, acme, { vector: false })
  await db.execute(sql`analyze chunks`)
  const fresh = createStore(db)
  const search = { text: 'tide table', embedding: null, embeddingModel: model, limit: 50, organization: acme }
  const after = await fresh.passages.search(ada, search)
  expect(after.map(({ chunkId }) => chunkId)).toEqual(before.map(({ chunkId }) => chunkId))
  expect(after[0]?.textScore).toBeCloseTo(before[0]?.textScore ?? 0, 1)
})

it('lists own and shared documents together, newest first, page by page', async () => {
  const all = await documents.list(ada, 100, undefined, acme)
  expect(all).toHaveLength(22)
  const read: string[] = []
  for (let after: { time: string; id: string } | undefined; ; ) {
    const page = await documents.list(ada, 5, after, acme)
    read.push(...page.map(({ id }) => id))
    const last = page.at(-1)
    if (!last || page.length < 5) break
    after = { time: last.createdAt.toISOString(), id: last.id }
  }
  expect(read).toEqual(all.map(({ id }) => id))
  expect(await documents.list(ada, 100)).toHaveLength(1)
})

it('moves a document: its reader changes at once, and it is ingested again', async () => {
  const id = await add(ada, 'A lighthouse at night')
  const isFound = async (owner: string, organization?: string) =>
    (await find(owner, organization, { text: 'lighthouse', vector: false })).length === 1
  expect(await isFound(bob, acme)).toBe(false)
  const moved = await documents.move(ada, id, acme)
  expect(moved).toMatchObject({ ownerId: acme, status: 'queued' })
  expect(await isFound(ada, acme)).toBe(false)
  const [job] = await db.execute<{ data: { owner: string; version: string } }>(
    sql`select data from pgboss.job where data ->> 'documentId' = ${id} order by created_on desc limit 1`,
  )
  expect(job?.data.owner).toBe(acme)
  const version = { id, version: job?.data.version ?? '' }
  expect(await documents.begin(acme, version)).toMatchObject({ content: { text: 'A lighthouse at night' } })
  expect(await documents.begin(ada, version)).toBeUndefined()
  const chunk = { heading: '', content: 'A lighthouse at night', start: 0, end: 21, embedding: [1, 0, 0, 0] }
  await documents.addChunks(acme, id, model, [chunk])
  expect([await isFound(bob, acme), await isFound(bob), await isFound(eve, globex)]).toEqual([true, false, false])
  expect(await documents.move(ada, id, bob)).toBeUndefined()
  await add(bob, 'A lighthouse at night')
  await expect(documents.move(acme, id, bob)).rejects.toMatchObject({ code: 'document_exists' })
})

it('shares a file that a member uploads, and the worker reads its parts', async () => {
  const { uploads } = createStore(db)
  const upload = { id: crypto.randomUUID(), title: 'File', mediaType: 'text/plain' }
  await uploads.open(ada, upload)
  await uploads.addPart(ada, upload.id, 0, Buffer.from('A buoy.'))
  const posted = { title: 'File', contentHash: 'buoy', uploadId: upload.id, uploadedBy: ada }
  const document = await documents.add(acme, posted)
  const begun = await documents.begin(acme, document)
  expect(begun?.upload).toMatchObject({ id: upload.id, uploadedBy: ada, size: 7 })
  const stolen = { ...posted, contentHash: 'stolen', uploadedBy: eve }
  await expect(documents.add(globex, stolen)).rejects.toThrow('The upload is gone.')
})

it('counts the words of all readable documents, and of no others', async () => {
  const scoreOf = async (owner: string, organization?: string) =>
    (await find(owner, organization, { text: 'table', vector: false }))[0]?.textScore
  const before = [await scoreOf(ada, acme), await scoreOf(ada), await scoreOf(eve, globex)]
  await add(acme, 'A chair')
  const [shared, own, foreign] = [await scoreOf(ada, acme), await scoreOf(ada), await scoreOf(eve, globex)]
  expect(shared).toBeGreaterThan(before[0] ?? 0) // the word is rarer now
  expect([own, foreign]).toEqual(before.slice(1))
})
