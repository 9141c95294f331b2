import { count, eq, sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import type { NewChunk } from './chunks.ts'
import { connect } from './client.ts'
import type { Cursor } from './conversations.ts'
import { chunks, documents as table, uploads } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 10 })
const { documents, owners, passages } = createStore(db)
const owner = await owners.ensure('ada')

afterAll(async () => {
  await close()
  await database.drop()
})

const embedding = Array.from({ length: 384 }, (_, n) => (n === 0 ? 1 : 0))
const chunk = { heading: 'Tides', content: 'The tide turns.', start: 0, end: 15, embedding }

let made = 0
const addDocument = () =>
  documents.add(owner, { title: 'Tides', text: 'The tide turns.', contentHash: `hash ${++made}` })

const countChunks = async (documentId: string) =>
  (await db.select({ count: count() }).from(chunks).where(eq(chunks.documentId, documentId)))[0]?.count

describe('adding a document', () => {
  it('returns the same document for the same content, even for ten concurrent posts', async () => {
    const content = { title: 'Tides', text: 'The tide turns.', contentHash: 'same' }
    const added = await Promise.all(Array.from({ length: 10 }, () => documents.add(owner, content)))
    expect(new Set(added.map(({ id }) => id)).size).toBe(1)
    expect(added[0]).toMatchObject({ title: 'Tides', status: 'queued', progress: 0, error: null })
    expect(await documents.add(await owners.ensure('bob'), content)).not.toMatchObject({ id: added[0]?.id })
  })
})

it('reads any part of a text by its UTF-16 units, as JavaScript would slice it', async () => {
  const text = `${'a🏊潮'.repeat(60_000)}\n${'plain '.repeat(20_000)}the end 🏊` // of several pieces
  const { id } = await addDocument()
  expect(await documents.readText(owner, id, { start: 0, end: 10 })).toEqual({ title: 'Tides', text: '', length: 0 })
  await db.update(table).set({ text }).where(eq(table.id, id))
  for (const [start, end] of [
    [0, 5],
    [0, 100_000],
    [133_332, 133_340],
    [239_990, 339_990],
    [text.length - 8, text.length + 100],
    [text.length, text.length + 5],
    [2, 3],
  ] as const) {
    const part = await documents.readText(owner, id, { start, end })
    expect(part?.length, `${start}`).toBe(text.length)
    expect(part?.text === text.slice(start, end), `${start} to ${end}`).toBe(true)
  }
  expect(await documents.readText(await owners.ensure('bob'), id, { start: 0, end: 5 })).toBeUndefined()
})

describe('adding its chunks', () => {
  it('stores them and marks the document as ready', async () => {
    const { id } = await addDocument()
    const second = { ...chunk, heading: 'Tides “ebb”', content: "It's \\ 潮", start: 15, end: 22, page: 3 }
    await documents.addChunks(owner, id, 'offline-384', [chunk, second])
    expect(await documents.find(owner, id)).toMatchObject({ status: 'ready', error: null })
    const stored = await db.select().from(chunks).where(eq(chunks.documentId, id)).orderBy(chunks.start)
    expect(stored).toMatchObject([
      { ...chunk, ownerId: owner, page: null, embeddingModel: 'offline-384' },
      { ...second, ownerId: owner },
    ])
  })

  it('stores them once when two processes ingest the same document', async () => {
    const { id, version } = await addDocument()
    const content = { title: 'Tides', text: 'The tide turns.', pages: null, version }
    const add = (newChunks: NewChunk[]) => documents.addChunks(owner, id, 'offline-384', newChunks, content)
    await Promise.all(Array.from({ length: 8 }, () => add([chunk, chunk])))
    await add([chunk])
    expect(await countChunks(id)).toBe(2)
  })

  it('stores all chunks of a long document', async () => {
    const { id } = await addDocument()
    const many = Array.from({ length: 250 }, (_, n) => ({ ...chunk, start: n, content: `chunk ${n}` }))
    await documents.addChunks(owner, id, 'offline-384', many)
    const stored = await db.select().from(chunks).where(eq(chunks.documentId, id)).orderBy(chunks.start)
    expect(stored.map(({ content }) => content)).toEqual(many.map(({ content }) => content))
  })

  it('stores nothing of a long document when its end cannot be stored', async () => {
    const { id } = await addDocument()
    const many = Array.from({ length: 250 }, (_, n) => ({ ...chunk, embedding: n < 249 ? embedding : [] }))
    await expect(documents.addChunks(owner, id, 'offline-384', many)).rejects.toThrow()
    expect(await countChunks(id)).toBe(0)
    expect(await documents.find(owner, id)).toMatchObject({ status: 'queued' })
  })

  it('does nothing when the document is gone', async () => {
    const { id } = await addDocument()
    await documents.remove(owner, id)
    await documents.addChunks(owner, id, 'offline-384', [chunk])
    expect(await countChunks(id)).toBe(0)
  })
})

describe('failing a document', () => {
  it('keeps the reason until its chunks are stored after all', async () => {
    const document = await addDocument()
    expect(await documents.fail(owner, document, 'the embedder is down')).toBe(true)
    const { id } = document
    expect(await documents.find(owner, id)).toMatchObject({ status: 'failed', error: 'the embedder is down' })
    await documents.addChunks(owner, id, 'offline-384', [chunk])
    expect(await documents.find(owner, id)).toMatchObject({ status: 'ready', error: null })
  })

  it('keeps the more specific reason of the last attempt', async () => {
    const document = await addDocument()
    await documents.postpone(owner, document, 'no credit')
    expect(await documents.find(owner, document.id)).toMatchObject({ status: 'queued', error: 'no credit' })
    await documents.fail(owner, document, 'given up')
    expect(await documents.find(owner, document.id)).toMatchObject({ status: 'failed', error: 'no credit' })
  })

  it('leaves a ready document ready', async () => {
    const document = await addDocument()
    await documents.addChunks(owner, document.id, 'offline-384', [chunk])
    expect(await documents.fail(owner, document, 'too late')).toBe(false)
    expect(await documents.find(owner, document.id)).toMatchObject({ status: 'ready', error: null })
  })
})

describe('posting a document again', () => {
  const jobsOf = async (documentId: string) =>
    (await db.execute(sql`select id from pgboss.job where data->>'documentId' = ${documentId}`)).map(({ id }) => id)
  const makeReady = (document: { id: string; version: string }, text: string, pages: number[] | null = null) =>
    documents.addChunks(owner, document.id, 'offline-384', [{ ...chunk, content: text }], {
      title: 'Tides',
      text,
      pages,
      version: document.version,
    })

  it('adds one job per content, however often it is posted', async () => {
    const post = () => documents.add(owner, { title: 'Tides', text: 'Once.', contentHash: 'once' })
    const [first] = await Promise.all([post(), post(), post()])
    if (!first) throw new Error('no document')
    await documents.begin(owner, first)
    await post()
    expect(await jobsOf(first.id)).toEqual([first.version])
    await makeReady(first, 'Once.')
    expect(await post()).toMatchObject({ version: first.version, status: 'ready' })
    expect(await jobsOf(first.id)).toEqual([first.version])
  })

  it('adds a job when only another model embedded it', async () => {
    const post = (embeddingModel: string) =>
      documents.add(owner, { title: 'Tides', text: 'Moved.', contentHash: 'moved', embeddingModel })
    const first = await post('offline-384')
    await makeReady(first, 'Moved.')
    expect(await post('offline-384')).toMatchObject({ status: 'ready' })
    const content = { title: 'Tides', text: 'Moved.', pages: null }
    expect(await documents.addChunksForModel(owner, first.id, 'beside', [chunk], content)).toBe(true)
    expect(await post('beside')).toMatchObject({ status: 'ready' })
    const again = await post('other')
    expect(again).toMatchObject({ id: first.id, status: 'queued' })
    expect(await jobsOf(first.id)).toHaveLength(2)
  })

  it('with the same name and other content replaces it once the new content is ready', async () => {
    const post = (text: string) =>
      documents.add(owner, { title: 'Tides', text, contentHash: text, externalId: 'tides' })
    const contents = async () =>
      (await db.select().from(chunks).where(eq(chunks.documentId, old.id))).map(({ content }) => content)
    const old = await post('old')
    await makeReady(old, 'old', [0])
    const renewed = await post('new')
    expect(renewed).toMatchObject({ id: old.id, externalId: 'tides', status: 'queued' })
    expect(await contents()).toEqual(['old'])
    expect(await documents.begin(owner, renewed)).toMatchObject({
      content: { text: 'old', pages: [0] },
      upload: { title: 'Tides', mediaType: 'text/plain', size: 3 },
    })
    await makeReady(old, 'too late')
    expect(await contents()).toEqual(['old'])
    await makeReady(renewed, 'new')
    expect(await contents()).toEqual(['new'])
    expect(await documents.begin(owner, renewed)).toBeUndefined()
    expect(await db.select().from(uploads).where(eq(uploads.documentId, old.id))).toEqual([])
  })

  it('repeatedly never exposes a partial state: a reader finds all chunks of one content', async () => {
    const post = (text: string) => documents.add(owner, { title: 'Moon', text, contentHash: text, externalId: 'moon' })
    const replace = async (text: string) => {
      const { id, version } = await post(text)
      const newChunks = Array.from({ length: 120 }, (_, start) => ({ ...chunk, start, content: text }))
      await documents.addChunks(owner, id, 'offline-384', newChunks, { title: 'Moon', text, pages: null, version })
      return id
    }
    const id = await replace('content 0')
    let isOver = false
    const replacing = (async () => {
      for (let n = 1; n <= 8; n += 1) await replace(`content ${n}`)
      isOver = true
    })()
    const seen = new Set<string>()
    while (!isOver) {
      const stored = await db.select({ content: chunks.content }).from(chunks).where(eq(chunks.documentId, id))
      const contents = new Set(stored.map(({ content }) => content))
      expect([stored.length, contents.size]).toEqual([120, 1])
      for (const content of contents) seen.add(content)
    }
    await replacing
    expect(seen.size).toBeGreaterThan(1)
  })

  it('and failing keeps the previous content searchable', async () => {
    const post = (text: string) => documents.add(owner, { title: 'Ebb', text, contentHash: text, externalId: 'ebb' })
    await makeReady(await post('before'), 'before')
    const renewed = await post('after')
    expect(await documents.fail(owner, renewed, 'unreadable')).toBe(true)
    expect(await documents.find(owner, renewed.id)).toMatchObject({ status: 'failed', error: 'unreadable' })
    expect(await countChunks(renewed.id)).toBe(1)
    expect(await post('after')).toMatchObject({ status: 'queued', error: null })
  })
})

describe('the list of documents', () => {
  it('skips and repeats nothing across pages, even if all documents have the same timestamp', async () => {
    const lister = await owners.ensure('lists')
    const contents = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
    for (const contentHash of contents) await documents.add(lister, { title: contentHash, text: '', contentHash })
    await db.update(table).set({ createdAt: new Date() }).where(eq(table.ownerId, lister))

    const seen: string[] = []
    let after: Cursor | undefined
    do {
      const page = await documents.list(lister, 3, after)
      seen.push(...page.map(({ title }) => title))
      const last = page.at(-1)
      after = last && { time: last.createdAt.toISOString(), id: last.id }
    } while (after)
    expect(seen.toSorted()).toEqual(contents)
  })
})

describe('removing a document', () => {
  it('removes its chunks, returns true once, and search no longer finds it', async () => {
    const { id } = await addDocument()
    await documents.addChunks(owner, id, 'offline-384', [{ ...chunk, content: 'zyzzyva' }])
    const search = { text: 'zyzzyva', embedding: JSON.stringify(embedding), embeddingModel: 'offline-384', limit: 100 }
    const found = async () => (await passages.search(owner, search)).some(({ documentId }) => documentId === id)
    expect(await found()).toBe(true)
    expect(await documents.remove(owner, id)).toBe(true)
    expect(await documents.remove(owner, id)).toBe(false)
    expect(await documents.find(owner, id)).toBeUndefined()
    expect(await countChunks(id)).toBe(0)
    expect(await found()).toBe(false)
  })
})
