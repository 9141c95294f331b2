import { LlmError } from '@repo/llm'
import { createLogger } from '@repo/telemetry'
import { sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { testApp } from '../testing.ts'
import { testTools } from '../testing-tools.ts'

const lines: string[] = []
const logger = createLogger('info', { write: (line) => void lines.push(line) })
const { app, alice, work, callTool, close } = await testTools({ environment: { RETRIEVAL: 'tool' }, logger })
afterAll(close)

const payload = { title: 'Office', text: 'The office opens at nine.' }
const question = 'When does the office open?'
const { embedder } = app.llm
const { embedQuery } = embedder
const error = new LlmError('model_failed', 'the model server responded with 500')

beforeAll(async () => {
  await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
  await work()
})
beforeEach(() => {
  embedder.embedQuery = embedQuery
  lines.length = 0
})

const breakEmbedder = () => {
  embedder.embedQuery = () => Promise.reject(error)
}
const search = async () => (await app.inject({ url: '/search', query: { q: question }, headers: alice })).json()
const countFailures = async () => {
  const { body } = await app.inject({ url: '/metrics', headers: alice })
  return Number(body.match(/sluice_retrieval_failures_total\{stage="embedder"\} (\d+)/)?.[1])
}
const readLog = () => lines.map((line) => JSON.parse(line)).filter(({ msg }) => /embedding model/.test(msg))

it('says nothing while the embedding model works', async () => {
  expect(await search()).toEqual({ items: [expect.objectContaining({ title: 'Office' })] })
  expect(await countFailures()).toBe(0)
  expect(readLog()).toEqual([])
})

it('counts and logs each failure once, without the question', async () => {
  breakEmbedder()
  const before = await countFailures()
  expect(await search()).toMatchObject({ items: [{ title: 'Office' }], degraded: 'keywords_only' })
  expect(await countFailures()).toBe(before + 1)
  const { name, code, message } = error
  expect(readLog()).toEqual([
    expect.objectContaining({ level: 40, embedder: embedder.name, error: { name, code, message } }),
  ])
  expect(lines.join()).not.toContain('office')
})

it('asks a late embedding model again only after a pause', async () => {
  const { app, alice, close } = await testApp()
  onTestFinished(close)
  let calls = 0
  app.llm.embedder.embedQuery = async () => {
    calls += 1
    throw new LlmError('model_timeout', 'the model server did not answer in time')
  }
  const search = async () => (await app.inject({ url: '/search', query: { q: question }, headers: alice })).json()
  const start = performance.now()
  const clock = vi.spyOn(performance, 'now')
  onTestFinished(() => clock.mockRestore())
  for (const [seconds, expected] of [
    [0, 1],
    [5, 1],
    [9, 1],
    [11, 2],
    [12, 2],
    [22, 3],
  ] as const) {
    clock.mockReturnValue(start + seconds * 1000)
    expect(await search()).toMatchObject({ degraded: 'keywords_only' })
    expect(calls).toBe(expected)
  }
})

it('tells the model that calls search_documents', async () => {
  breakEmbedder()
  const { output } = await callTool('search_documents', { query: question })
  expect(output).toMatchObject({ passages: [{ n: 1, title: 'Office' }], degraded: 'keywords_only' })
})

it('fails with errors that are not the model’s', async () => {
  embedder.embedQuery = () => Promise.reject(new Error('a bug'))
  expect(await search()).toMatchObject({ status: 500 })
})

it('uses the configured reranker, and counts and logs its failure, which is none of the search', async () => {
  const upstream = await startUpstream() // an unexpected call fails with a 500
  const environment = { RERANK_BASE_URL: upstream.url, RERANK_MODEL: 'the-reranker' }
  const { app, alice, work, close } = await testApp({ environment, logger })
  onTestFinished(close)
  for (const text of ['The office opens at nine.', 'The office opens at ten in winter.'])
    await app.inject({ method: 'POST', url: '/documents', headers: alice, payload: { title: text, text } })
  await work()
  const search = async () =>
    (await app.inject({ url: '/search', query: { q: question, k: '1' }, headers: alice })).json()

  const fused = await search()
  expect(fused).toEqual({ items: [expect.anything()] })
  const { body } = await app.inject({ url: '/metrics', headers: alice })
  expect(body).toContain('sluice_retrieval_failures_total{stage="reranker"} 1')
  const failures = lines.map((line) => JSON.parse(line)).filter(({ reranker }) => reranker !== undefined)
  expect(failures).toEqual([expect.objectContaining({ level: 40, reranker: 'the-reranker' })])

  upstream.next(sendJson({ results: [0, 1].map((index) => ({ index, relevance_score: index })) }))
  const { items } = await search()
  expect(items).toEqual([expect.objectContaining({ score: 1 })])
  expect(items[0].documentId).not.toBe(fused.items[0].documentId)
  expect(upstream.calls[0]?.body).toMatchObject({ model: 'the-reranker', query: question, top_n: 1 })
})
