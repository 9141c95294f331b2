import { connect, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createLlm } from '@repo/llm'
import { createTestModels } from '@repo/testing/test-models'
import { sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { ingestDocument } from './ingest.ts'
import { retrievePassages } from './retrieve.ts'

const database = await createTestDatabase()
const { db, pool, close } = connect({ url: database.databaseUrl, poolSize: 4 })
const store = createStore(db)
const [ada, bob] = [await store.owners.ensure('ada'), await store.owners.ensure('bob')]
const { embedder } = createTestModels()
const options = { store, embedder }
const filler =
  'Ropes are coiled clockwise, sails are dried before they are folded, and lamps are filled at noon. '.repeat(9)
const tides = 'Gezeitenwechsel, Gezeitenstrom' // not the keyword “Gezeiten”, but similar for the vectors

await ingestDocument(options, ada, {
  title: 'Log',
  text: Array.from({ length: 80 }, (_, n) => `# Day ${n}\n${tides}`).join('\n'),
})
await ingestDocument(options, ada, {
  title: 'Stores',
  text: `${filler}\n\nAsk for the zyzzyva. ${filler.slice(0, 200)}`,
})
await ingestDocument(options, ada, { title: 'Handbuch', text: 'Verbindungspooling erklärt.\n\n# Ganz leer' })
await ingestDocument(options, bob, { title: 'Secret', text: 'The tide turned, and the zyzzyva is bob’s.' })

afterAll(async () => {
  await close()
  await database.drop()
})

describe('retrieving passages', () => {
  it('finds a passage that only its keywords match', async () => {
    const question = 'Gezeiten, Gezeiten: zyzzyva?'
    const found = await retrievePassages(options, ada, question, { limit: 100 })
    const passage = found.find(({ text }) => text.includes('zyzzyva'))
    expect(passage).toMatchObject({ title: 'Stores', heading: 'Stores' })

    // Proof that the vector search did not find it: more than its limit of 50 passages are nearer.
    const [asked = [], own = [], ...days] = await embedder.embed([
      question,
      `Stores\n${passage?.text}`,
      ...Array.from({ length: 80 }, (_, n) => `Log > Day ${n}\n${tides}`),
    ])
    const nearness = (vector: number[]) => vector.reduce((sum, value, axis) => sum + value * (asked[axis] ?? 0), 0)
    expect(days.filter((day) => nearness(day) > nearness(own)).length).toBeGreaterThan(50)
  })

  it('finds a passage that shares no whole word with the question', async () => {
    const [first] = await retrievePassages(options, ada, 'Verbindungspools', { limit: 5 })
    expect(first).toMatchObject({ text: 'Verbindungspooling erklärt.' })
  })

  it('finds a heading that has nothing below it', async () => {
    const [first] = await retrievePassages(options, ada, 'ganz leer', { limit: 5 })
    expect(first).toMatchObject({ heading: 'Handbuch > Ganz leer', text: '# Ganz leer' })
  })

  it('finds a passage by its heading, and returns at most `limit` passages, best first', async () => {
    const found = await retrievePassages(options, ada, 'What happened on day 42?', { limit: 3 })
    expect(found).toHaveLength(3)
    expect(found[0]).toMatchObject({ heading: 'Log > Day 42' })
    expect(found.map(({ score }) => score)).toEqual(found.map(({ score }) => score).toSorted((a, b) => b - a))
  })

  it('never finds passages of another owner', async () => {
    const mine = await retrievePassages(options, bob, 'tide zyzzyva sails Verbindungspooling', { limit: 100 })
    expect(mine.map(({ title }) => title)).toEqual(['Secret'])
    const theirs = await retrievePassages(options, ada, 'Secret: the zyzzyva is bob’s', { limit: 100 })
    expect(theirs.filter(({ title }) => title === 'Secret')).toEqual([])
  })

  it('rejects with the reason of the aborted signal', async () => {
    const reason = new Error('left')
    await expect(retrievePassages(options, ada, 'tide', { limit: 5, signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    )
  })
})

describe('an embedding model that fails', async () => {
  const upstream = await startUpstream()
  const closedPort = 'http://127.0.0.1:9/v1'
  const hang = () => {}
  const connectTo = (baseUrl: string, firstByteTimeoutMs = 60_000) => {
    const limits = { firstByteTimeoutMs, idleTimeoutMs: 60_000, beforeCall: () => {} }
    const { embedder: remote } = createLlm({ baseUrl, ...limits, chatModel: 'unused', embeddingModel: 'remote' })
    return { ...remote, name: embedder.name }
  }
  const servers = [
    ['responds with 500', 'model_failed', () => upstream.next(sendJson({}, 500)), upstream.url, 60_000],
    ['refuses connections', 'model_unreachable', () => {}, closedPort, 60_000],
    ['sends no vector', 'model_protocol', () => upstream.next(sendJson({ data: [] })), upstream.url, 60_000],
    ['hangs until the configured timeout', 'model_timeout', () => upstream.next(hang), upstream.url, 100],
    ['hangs until our own deadline', 'model_timeout', () => upstream.next(hang), upstream.url, 60_000],
  ] as const

  it.each(servers)('finds passages by keyword only if it %s', async (_, code, prepare, url, timeoutMs) => {
    const onFailure = vi.fn()
    prepare()
    const failing = { store, embedder: connectTo(url, timeoutMs), onFailure }
    const found = await retrievePassages(failing, ada, 'Ask for the zyzzyva', { limit: 5 })
    expect(found[0]).toMatchObject({ title: 'Stores', vectorRank: null, textRank: 1 })
    expect(found.every(({ vectorRank }) => vectorRank === null)).toBe(true)
    const failure = { stage: 'embedder', model: embedder.name, error: expect.objectContaining({ code }) }
    expect(onFailure.mock.calls).toEqual([[failure]])
  })

  it('finds nothing of other owners, and respects the scope', async () => {
    const failing = { store, embedder: connectTo(closedPort), onFailure: () => {} }
    const found = await retrievePassages(failing, bob, 'zyzzyva Verbindungspooling', { limit: 100 })
    expect(found.map(({ title }) => title)).toEqual(['Secret'])
    const scope = { documentIds: [crypto.randomUUID()] }
    expect(await retrievePassages(failing, bob, 'zyzzyva', { limit: 100, scope })).toEqual([])
  })

  it('is an error without `onFailure`', async () => {
    const failing = { store, embedder: connectTo(closedPort) }
    const search = retrievePassages(failing, ada, 'zyzzyva', { limit: 5 })
    await expect(search).rejects.toMatchObject({ code: 'model_unreachable' })
  })

  it('is no failure if the caller aborts, and holds no connection while it is awaited', async () => {
    const [onFailure, controller, calls] = [vi.fn(), new AbortController(), upstream.calls.length]
    upstream.next(hang)
    const failing = { store, embedder: connectTo(upstream.url), onFailure }
    const search = retrievePassages(failing, ada, 'zyzzyva', { limit: 5, signal: controller.signal })
    await expect.poll(() => upstream.calls.length).toBe(calls + 1)
    expect(pool.countUsed()).toBe(0)
    const reason = new Error('left')
    controller.abort(reason)
    await expect(search).rejects.toBe(reason)
    expect(onFailure).not.toHaveBeenCalled()
  })

  it('hides no other error', async () => {
    const wrong = { ...embedder, embedQuery: () => Promise.reject(new TypeError('a bug')) }
    const search = retrievePassages({ store, embedder: wrong, onFailure: () => {} }, ada, 'zyzzyva', { limit: 5 })
    await expect(search).rejects.toThrow('a bug')
  })
})
