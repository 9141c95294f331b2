import { connect, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createLlm, type Reranker } from '@repo/llm'
import { createTestModels } from '@repo/testing/test-models'
import { sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { ingestDocument } from './ingest.ts'
import { rerankPassages } from './rerank.ts'
import { retrievePassages } from './retrieve.ts'

const database = await createTestDatabase()
const { db, pool, close } = connect({ url: database.databaseUrl, poolSize: 4 })
const store = createStore(db)
const [ada, bob] = [await store.owners.ensure('ada'), await store.owners.ensure('bob')]
const { embedder } = createTestModels()
const upstream = await startUpstream()
const limits = { beforeCall: () => {}, firstByteTimeoutMs: 60_000, idleTimeoutMs: 60_000 }
const { reranker } = createLlm({
  ...{ baseUrl: upstream.url, ...limits, chatModel: 'c', embeddingModel: 'e' },
  reranker: { baseUrl: upstream.url, model: 'the-reranker' },
})
const plain = { store, embedder }
const reranked = { store, embedder, reranker }

const text = Array.from({ length: 40 }, (_, n) => `# Tide ${n}\nThe tide of day ${n} is high.`).join('\n')
const { id: logId } = await ingestDocument(plain, ada, { title: 'Log', text })
await ingestDocument(plain, ada, { title: 'Table', text: 'The tide table hangs at the office.' })
await ingestDocument(plain, bob, { title: 'Secret', text: 'The tide is low.\n\n# More\nThe tide is high.' })
const question = 'How high is the tide?'

afterAll(async () => {
  await close()
  await database.drop()
})

/** Scores the candidates so that the last one is the best. */
const preferLast = (count: number) => {
  upstream.next(
    sendJson({ results: Array.from({ length: count }, (_, index) => ({ index, relevance_score: index - 9 })) }),
  )
}
const lastBody = () => upstream.calls.at(-1)?.body as { query: string; documents: string[]; top_n: number }
const idsOf = (passages: { chunkId: string }[]) => passages.map(({ chunkId }) => chunkId)

describe('a search with a reranker', () => {
  it('sends the 30 best candidates in fused order, and returns the best by score', async () => {
    const fused = await retrievePassages(plain, ada, question, { limit: 30 })
    preferLast(30)
    const found = await retrievePassages(reranked, ada, question, { limit: 6 })
    const { query, documents, top_n } = lastBody()
    expect({ query, top_n }).toEqual({ query: question, top_n: 6 })
    expect(documents).toEqual(fused.map(({ heading, text }) => `${heading}\n${text}`))
    expect(idsOf(found)).toEqual(idsOf(fused.toReversed().slice(0, 6)))
    expect(found.map(({ score }) => score)).toEqual([20, 19, 18, 17, 16, 15])
    expect(pool.countUsed()).toBe(0)
  })

  it('sends as many candidates as it returns if these are more than 30', async () => {
    preferLast(40)
    expect(await retrievePassages(reranked, ada, question, { limit: 40 })).toHaveLength(40)
    expect(lastBody().documents).toHaveLength(40)
  })

  it('sends only passages of the owner, and in the scope', async () => {
    preferLast(2)
    const found = await retrievePassages(reranked, bob, question, { limit: 6 })
    expect(lastBody().documents.join()).not.toContain('Log')
    expect(found.map(({ title }) => title)).toEqual(['Secret', 'Secret'])
    preferLast(30)
    await retrievePassages(reranked, ada, question, { limit: 6, scope: { documentIds: [logId] } })
    expect(lastBody().documents.every((document) => document.startsWith('Log'))).toBe(true)
  })

  it('cuts long questions and passages without dividing a character', async () => {
    const rerank = vi.fn<Reranker['rerank']>(async () => [])
    const passage = { heading: 'A', text: '🌊'.repeat(2000), score: 1 }
    await rerankPassages({ name: 'fake', rerank }, `?${'🌊'.repeat(999)}`, [passage], { limit: 1 })
    const [query = '', [text = ''] = []] = rerank.mock.calls[0] ?? []
    for (const sent of [query, text]) expect(sent.isWellFormed()).toBe(true)
    expect([query.length, text.length]).toEqual([1000, 2000])
  })

  it('does not call it when there is nothing to order', async () => {
    const calls = upstream.calls.length
    const scope = { documentIds: [crypto.randomUUID()] }
    expect(await retrievePassages(reranked, ada, question, { limit: 6, scope })).toEqual([])
    expect(upstream.calls.length).toBe(calls)
  })
})

describe('a reranker that fails', () => {
  const hang = () => {}
  it.each([
    ['responds with 500', 'model_failed', sendJson({}, 500)],
    ['sends no results', 'model_protocol', sendJson({ results: [] })],
    ['sends an unknown index', 'model_protocol', sendJson({ results: [{ index: 30, relevance_score: 1 }] })],
    ['hangs', 'model_timeout', hang],
  ] as const)('leaves the order of the search if it %s', async (_, code, respond) => {
    const fused = await retrievePassages(plain, ada, question, { limit: 6 })
    const onFailure = vi.fn()
    upstream.next(respond)
    expect(await retrievePassages({ ...reranked, onFailure }, ada, question, { limit: 6 })).toEqual(fused)
    const failure = { stage: 'reranker', model: 'the-reranker', error: expect.objectContaining({ code }) }
    expect(onFailure.mock.calls).toEqual([[failure]])
  })

  it('is an error without `onFailure`', async () => {
    upstream.next(sendJson({}, 500))
    const search = retrievePassages(reranked, ada, question, { limit: 6 })
    await expect(search).rejects.toMatchObject({ code: 'model_failed' })
  })

  it('is no failure if the caller aborts, and holds no connection while it is awaited', async () => {
    const [onFailure, controller, calls] = [vi.fn(), new AbortController(), upstream.calls.length]
    upstream.next(hang)
    const { signal } = controller
    const search = retrievePassages({ ...reranked, onFailure }, ada, question, { limit: 6, signal })
    await expect.poll(() => upstream.calls.length).toBe(calls + 1)
    expect(pool.countUsed()).toBe(0)
    const reason = new Error('left')
    controller.abort(reason)
    await expect(search).rejects.toBe(reason)
    expect(onFailure).not.toHaveBeenCalled()
  })
})
