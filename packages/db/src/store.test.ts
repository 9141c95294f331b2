import { Readable } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import type { AnswerEnd } from './answers.ts'
import { connect } from './client.ts'
import { modelUsage } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'
import { text } from './testing-turns.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 4 })
const store = createStore(db)
const { answers, conversations, documents, messageFiles, owners, passages, turns, uploads, usage } = store
const ada = await owners.ensure('ada')
const mallory = await owners.ensure('mallory')

afterAll(async () => {
  await close()
  await database.drop()
})

const embedding = Array.from({ length: 384 }, (_, n) => (n === 0 ? 1 : 0))
const chunk = { heading: 'Secret', content: 'Ada’s secret.', start: 0, end: 13, embedding }
const content = { title: 'Secret', text: 'Ada’s secret.', pages: null }
const secret = { title: 'Secret', text: 'Ada’s secret.', contentHash: 'secret' }
const end: AnswerEnd = {
  parts: text('overwritten'),
  status: 'complete',
  sources: [],
  finishReason: 'stop',
  inputTokens: 1,
  outputTokens: 1,
  cachedTokens: null,
  error: null,
}

const ended = { conversationId: 'ended', title: 'Ada’s', questionId: 'q', question: 'Ada’s?', answerId: 'a' }
const running = { ...ended, conversationId: 'running' }
await turns.open(ada, ended)
await answers.finish(ada, ended, { ...end, parts: text('Ada’s answer') })
await turns.open(ada, running)
const abandoned = { ...ended, conversationId: 'abandoned' }
await turns.open(ada, abandoned)
const imageId = '00000000-0000-4000-8000-000000000003'
await turns.open(ada, { ...ended, conversationId: 'pictured', files: [{ id: imageId, url: 'abc' }] })
const waiting = { ...ended, conversationId: 'waiting' }
await turns.open(ada, waiting)
await answers.finish(ada, waiting, { ...end, finishReason: 'tool-calls' })
const ready = await documents.add(ada, secret)
await documents.addChunks(ada, ready.id, 'offline-384', [chunk], { ...content, version: ready.version })
const processing = await documents.add(ada, { ...secret, contentHash: 'other' })
await owners.addKey(ada, { id: 'adas-key', secretHash: 'hash' })
const arriving = { id: '00000000-0000-4000-8000-000000000001', title: 'Secret', mediaType: 'text/plain', size: 5 }
await uploads.open(ada, arriving)
const abandonedUpload = { ...arriving, id: '00000000-0000-4000-8000-000000000002' }
await uploads.open(ada, abandonedUpload)
await uploads.addPart(ada, arriving.id, 0, Buffer.from('secret'))

const call = { day: '2026-11-30', keyId: '', kind: 'chat', model: 'gpt', processId: imageId } as const
const counts = { requests: 1, inputTokens: 1, cachedTokens: 0, outputTokens: 1, reasoningTokens: 0, toolCalls: 0 }
await db.insert(modelUsage).values({ ownerId: ada, ...call, ...counts, estimated: 0 })

const [{ id: adasChunk } = { id: '' }] = await db.execute<{ id: string }>(sql`select id from chunks`)
const search = { text: 'secret', embedding: JSON.stringify(embedding), embeddingModel: 'offline-384', limit: 10 }

/** Calls of each store function by `owner` with the ids of Ada's rows. Functions that remove rows come last. */
const calls: Record<string, (owner: string) => Promise<unknown>> = {
  'conversations.list': (owner) => conversations.list(owner, 10),
  'conversations.read': (owner) => conversations.read(owner, 'ended', 10),
  'conversations.read, older ones': (owner) => conversations.read(owner, 'ended', 10, 'a'),
  'conversations.readContent': (owner) => Readable.from(conversations.readContent(owner, 'ended', 'q')).toArray(),
  'conversations.search': async (owner) => (await conversations.search(owner, 'Ada', 10)).found,
  'conversations.replaceTitle': (owner) => conversations.replaceTitle(owner, 'ended', 'Ada’s', 'Stolen'),
  'conversations.rename': (owner) => conversations.rename(owner, 'ended', 'Stolen'),
  'conversations.rate': (owner) => conversations.rate(owner, 'ended', 'a', { value: 1, comment: null }),
  'turns.history': (owner) => turns.history(owner, 'ended', 'a', 10),
  'answers.saveProgress': (owner) =>
    answers.saveProgress([{ ...running, owner, start: 0, parts: text('overwritten') }]),
  'answers.findRunning': (owner) => answers.findRunning(owner, 'running'),
  'answers.findRunningTurn': (owner) => answers.findRunningTurn(owner, 'running'),
  'answers.requestStop': (owner) => answers.requestStop(owner, 'running'),
  'answers.stopAbandoned': (owner) => answers.stopAbandoned(owner, abandoned),
  'answers.finish': (owner) => answers.finish(owner, running, end),
  'answers.read': (owner) => answers.read([{ ...ended, owner, position: 0, characters: 0 }]),
  'turns.readWaiting': (owner) => turns.readWaiting(owner, waiting),
  'turns.continue': (owner) => turns.continue(owner, waiting, 0),
  'turns.reopen': (owner) => turns.reopen(owner, { ...ended, answerId: 'a2' }),
  'documents.list': (owner) => documents.list(owner, 10),
  'documents.find': (owner) => documents.find(owner, ready.id),
  'documents.readText': (owner) => documents.readText(owner, ready.id, { start: 0, end: 100 }),
  'documents.readContent': (owner) => documents.readContent(owner, ready.id),
  'documents.begin': (owner) => documents.begin(owner, processing),
  'documents.recordProgress': (owner) => documents.recordProgress(owner, processing, 0.5),
  'documents.postpone': (owner) => documents.postpone(owner, processing, 'later'),
  'documents.fail': (owner) => documents.fail(owner, processing, 'broken'),
  'documents.addChunks': (owner) => documents.addChunks(owner, processing.id, 'offline-384', [chunk]),
  'documents.addChunksForModel': (owner) => documents.addChunksForModel(owner, ready.id, 'other-384', [chunk], content),
  'uploads.addPart': (owner) => uploads.addPart(owner, arriving.id, 1, Buffer.from('overwritten')),
  'uploads.read': (owner) =>
    uploads
      .read(owner, arriving)
      .next()
      .catch(() => false),
  'documents.add, with an upload': (owner) =>
    documents.add(owner, { title: 'Stolen', contentHash: 'stolen', uploadId: arriving.id }).catch(() => false),
  'uploads.discard': (owner) => uploads.discard(owner, abandonedUpload.id),
  'messageFiles.readUrl': (owner) =>
    Readable.from(messageFiles.readUrl(owner, { id: imageId, length: 3 }))
      .toArray()
      .catch(() => false),
  'usage.read': (owner) => usage.read(owner, { from: '2026-01-01', to: '2026-12-31' }, 'day'),
  'passages.read': (owner) => passages.read(owner, [adasChunk]),
  'passages.search': (owner) => passages.search(owner, search),
  'passages.search, by id': (owner) => passages.search(owner, { ...search, scope: { documentIds: [ready.id] } }),
  'conversations.remove': (owner) => conversations.remove(owner, 'ended'),
  'documents.move': (owner) => documents.move(owner, ready.id, owner),
  'documents.remove': (owner) => documents.remove(owner, ready.id),
}

/** Functions that create rows for the caller, or that have no owner. */
const excluded = new Set([
  'turns.open',
  'answers.interruptAbandoned',
  'answers.listStopRequests',
  'documents.add',
  'owners.ensure',
  'owners.remove', // of the caller alone: owners.test.ts
  'owners.ensureMember',
  'owners.join',
  'owners.leave',
  'owners.addKey',
  'owners.findKey',
  'owners.recordKeyUsage',
  'usage.sync',
  'usage.store',
  'usage.merge',
  'uploads.open',
  'uploads.sweep',
  'usage.sweep',
])

/** All tables whose rows have an owner, including new ones. */
const tables = await db.execute<{ name: string }>(
  sql`select table_name as name from information_schema.columns where column_name = 'owner_id' and table_schema = 'public'`,
)

/** Returns all rows that belong to Ada. */
async function adasRows() {
  return Promise.all(
    tables.map(({ name }) =>
      db.execute(sql`select to_jsonb(t) from ${sql.identifier(name)} t where owner_id = ${ada} order by 1`),
    ),
  )
}

const nothing = [undefined, false, [], new Set()]

it('every table except `owners` has an owner', async () => {
  const all = await db.execute<{ name: string }>(
    sql`select table_name as name from information_schema.tables where table_schema = 'public'`,
  )
  const owned = new Set(tables.map(({ name }) => name))
  expect(all.map(({ name }) => name).filter((name) => !owned.has(name))).toEqual(['owners'])
})

describe('another owner', () => {
  it('is tested with every function of the store', () => {
    const functions = Object.entries(store).flatMap(([part, object]) =>
      Object.keys(object).map((name) => `${part}.${name}`),
    )
    const tested = new Set([...Object.keys(calls).map((name) => name.split(',')[0]), ...excluded])
    expect(functions.filter((name) => !tested.has(name))).toEqual([])
  })

  it.each(Object.entries(calls))('finds and changes nothing with %s', async (_, call) => {
    const before = await adasRows()
    const result = await call(mallory)
    expect(nothing).toContainEqual(result)
    expect(await adasRows()).toEqual(before)
  })

  it('can use the same ids and content, and gets separate rows', async () => {
    const before = await adasRows()
    await turns.open(mallory, ended)
    const copy = await documents.add(mallory, secret)
    await documents.addChunks(mallory, copy.id, 'offline-384', [chunk])
    expect(await adasRows()).toEqual(before)
    expect(await turns.history(mallory, 'ended', 'a', 10)).toMatchObject([{ role: 'user', content: 'Ada’s?' }])
    expect((await passages.search(mallory, search)).map(({ documentId }) => documentId)).toEqual([copy.id])
    await documents.remove(mallory, copy.id)
    await conversations.remove(mallory, 'ended')
    expect(await adasRows()).toEqual(before)
  })

  it.each(Object.entries(calls))('control: %s finds or changes something for Ada', async (_, call) => {
    const before = await adasRows()
    const result = await call(ada)
    const changed = !isDeepStrictEqual(before, await adasRows())
    expect(changed || !nothing.some((empty) => isDeepStrictEqual(result, empty))).toBe(true)
  })
})
