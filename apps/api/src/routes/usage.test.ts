import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createKey } from '@repo/db'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { beginChunks, chunk, completion, sendChunks, sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { type TestApp, type TestOptions, testApp } from '../testing.ts'

const upstream = await startUpstream()
const folder = mkdtempSync(join(tmpdir(), 'sluice-prices-'))
afterAll(() => rmSync(folder, { recursive: true }))
const PRICES_FILE = join(folder, 'prices.json')
writeFileSync(PRICES_FILE, '{"gpt": {"input": 1, "cachedInput": 0.1, "output": 10}, "ranker": {"input": 2}}')
const models = { OPENAI_BASE_URL: upstream.url, CHAT_MODEL: 'gpt', EMBEDDING_MODEL: 'embed' }
const environment = { ...models, RERANK_BASE_URL: upstream.url, RERANK_MODEL: 'ranker', RETRIEVAL: 'off', PRICES_FILE }
const shared = await testApp({ environment })
afterAll(shared.close)

const Counts = z.looseObject({ model: z.string().optional(), kind: z.string().optional(), requests: z.number() })
const Usage = z.object({ items: z.array(Counts), from: z.string(), to: z.string() })

async function startApp(options: TestOptions): Promise<TestApp> {
  const app = await testApp(options)
  onTestFinished(app.close)
  return app
}

async function readUsage({ app }: TestApp, headers: TestApp['alice'], query = 'by=model') {
  return Usage.parse((await app.inject({ url: `/usage?${query}`, headers })).json()).items
}

/** Waits until so many requests are counted, stores them, and returns the usage by model. */
async function untilCounted(one: TestApp, headers: TestApp['alice'], requests: number) {
  const count = async () => {
    await one.app.usage.flush(one.store.usage.store)
    return (await readUsage(one, headers)).reduce((sum, item) => sum + item.requests, 0)
  }
  await expect.poll(count).toBe(requests)
  return readUsage(one, headers)
}

const reported = {
  prompt_tokens: 100,
  completion_tokens: 20,
  prompt_tokens_details: { cached_tokens: 60 },
  completion_tokens_details: { reasoning_tokens: 5 },
}
const usageChunk = { ...chunk({}), choices: [], usage: reported }
const call = { index: 0, id: 'c1', type: 'function', function: { name: 'find', arguments: '{}' } }
const messages = [{ role: 'user', content: 'What is it?' }]
const post = (url: string, payload: object) => ({ method: 'POST', url, payload }) as const
const complete = (more: object = {}) =>
  post('/v1/chat/completions', { model: 'gpt', messages, retrieval: false, ...more })
const respond = (more: object = {}) =>
  post('/v1/responses', { model: 'gpt', input: 'What?', retrieval: false, ...more })
const counted = {
  model: 'gpt',
  requests: 1,
  inputTokens: 100,
  cachedInputTokens: 60,
  outputTokens: 20,
  reasoningTokens: 5,
  toolCalls: 0,
  estimated: 0,
  cost: 0.000246, // 40 tokens at 1 dollar per million, 60 at 0.1, 20 at 10
}
const estimate = { ...counted, cachedInputTokens: 0, reasoningTokens: 0, estimated: 1 }

let owners = 0
/** Returns the headers of an owner without usage. */
async function createOwner() {
  owners += 1
  return { authorization: `Bearer ${await createKey(shared.store, `owner-${owners}`)}` }
}

describe('counts', () => {
  const words = [chunk({ content: 'It is ' }), chunk({ content: 'here.' }), chunk({}, 'stop')]
  it.each([
    ['an answer', post('/chat', { message: 'What?' }), sendChunks(...words, usageChunk), { ...counted, kind: 'chat' }],
    ['a completion', complete(), sendJson({ ...completion({ content: 'Here.' }), usage: reported }), counted],
    ['a stream', complete({ stream: true }), sendChunks(...words, usageChunk), counted],
    ['a response', respond(), sendJson({ ...completion({ content: 'Here.' }), usage: reported }), counted],
    ['a streamed response', respond({ stream: true }), sendChunks(...words, usageChunk), counted],
    [
      'tool calls of a completion',
      complete(),
      sendJson({ ...completion({ content: null, tool_calls: [call, call] }, 'tool_calls'), usage: reported }),
      { ...counted, toolCalls: 2 },
    ],
    [
      'tool calls of a stream',
      complete({ stream: true }),
      sendChunks(
        chunk({ tool_calls: [call] }),
        chunk({ tool_calls: [{ index: 0, function: { arguments: '{}' } }] }),
        chunk({}, 'tool_calls'),
        usageChunk,
      ),
      { ...counted, toolCalls: 1 },
    ],
    [
      'an answer without reported usage',
      post('/chat', { message: 'What?' }),
      sendChunks(...words),
      { ...estimate, kind: 'chat', inputTokens: expect.any(Number), outputTokens: 3, cost: expect.any(Number) },
    ],
    [
      'a stream without reported usage',
      complete({ stream: true }),
      sendChunks(...words),
      { ...estimate, inputTokens: 3, outputTokens: 3, cost: 0.000033 },
    ],
    [
      'a completion without reported usage',
      complete(),
      sendJson({ ...completion({ content: 'Here.' }), usage: undefined }),
      { ...estimate, inputTokens: 3, outputTokens: expect.any(Number), cost: expect.any(Number) },
    ],
    [
      'an answer that fails in the middle',
      post('/chat', { message: 'What?' }),
      (response: Parameters<ReturnType<typeof sendJson>>[0]) => beginChunks(response, ...words.slice(0, 2)).end(),
      { ...estimate, kind: 'chat', inputTokens: expect.any(Number), outputTokens: 3, cost: expect.any(Number) },
    ],
    [
      'embeddings',
      post('/v1/embeddings', { model: 'embed', input: ['a', 'b'] }),
      sendJson({ data: [{ embedding: [1] }, { embedding: [2] }], usage: { prompt_tokens: 7, total_tokens: 7 } }),
      { model: 'embed', kind: 'embedding', requests: 1, inputTokens: 7, outputTokens: 0, estimated: 0 },
    ],
    [
      'embeddings without reported usage',
      post('/v1/embeddings', { model: 'embed', input: 'four times four.' }),
      sendJson({ data: [{ embedding: [1] }] }),
      { model: 'embed', kind: 'embedding', requests: 1, inputTokens: 4, outputTokens: 0, estimated: 1 },
    ],
  ])('%s', async (_, request, response, expected) => {
    const headers = await createOwner()
    upstream.next(response)
    await shared.app.inject({ ...request, headers })
    const [item, ...others] = await untilCounted(shared, headers, 1)
    expect(item).toMatchObject({ kind: 'dialect', ...expected })
    expect(item && 'cost' in item).toBe(item?.model === 'gpt') // the other has no price
    expect(others).toEqual([])
  })

  it('the same in /metrics, with the cost', async () => {
    const headers = await createOwner()
    const readMetrics = async () => {
      const { body } = await shared.app.inject({ url: '/metrics', headers })
      const read = (name: string, more = '') => {
        const series = `sluice_model_${name}_total{kind="dialect",model="gpt"${more}} `
        return Number(
          body
            .split('\n')
            .find((line) => line.startsWith(series))
            ?.slice(series.length) ?? 0,
        )
      }
      const [input, output] = ['input', 'output'].map((direction) => read('tokens', `,direction="${direction}"`))
      return { input, output, cached: read('cached_tokens'), microdollars: Math.round(read('cost_dollars') * 1e6) }
    }
    const before = await readMetrics()
    upstream.next(sendJson({ ...completion({ content: 'Here.' }), usage: reported }))
    await shared.app.inject({ ...complete(), headers })
    await untilCounted(shared, headers, 1)
    const added = Object.entries(await readMetrics()).map(([name, value]) => [
      name,
      Number(value) - Number(Object.entries(before).find(([key]) => key === name)?.[1]),
    ])
    expect(Object.fromEntries(added)).toEqual({ input: 100, output: 20, cached: 60, microdollars: 246 })
  })

  it('nothing for a call that the model server rejects', async () => {
    const headers = await createOwner()
    upstream.next(sendJson({ error: { message: 'no' } }, 401))
    await shared.app.inject({ ...complete(), headers })
    upstream.next(sendJson({ ...completion({ content: 'Here.' }), usage: reported }))
    await shared.app.inject({ ...complete(), headers })
    await untilCounted(shared, headers, 1)
  })

  it('a question’s embedding and the reranking of its passages', async () => {
    const headers = await createOwner()
    const vector = Array.from({ length: 3 }, () => 1)
    const embedded = (count: number) =>
      sendJson({ data: Array(count).fill({ embedding: vector }), usage: { prompt_tokens: count, total_tokens: count } })
    for (const text of ['The tide is high.', 'The tide is low.']) {
      await shared.app.inject({ ...post('/documents', { title: 'Tide', text }), headers })
      upstream.next(embedded(1))
    }
    await shared.work()
    upstream.next(embedded(1))
    upstream.next(
      sendJson({ results: [0, 1].map((index) => ({ index, relevance_score: index })), usage: { total_tokens: 33 } }),
    )
    await shared.app.inject({ url: '/search?q=tide', headers })
    expect(await untilCounted(shared, headers, 2)).toMatchObject([
      { model: 'embed', kind: 'embedding', requests: 1, inputTokens: 1, estimated: 0 },
      { model: 'ranker', kind: 'rerank', requests: 1, inputTokens: 33, estimated: 0, cost: 0.000066 },
    ])
  })

  it('an answer that is stopped, and a stream whose client leaves', async () => {
    const headers = await createOwner()
    const url = await shared.listen()
    const open = (path: string, body: object, signal?: AbortSignal) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        ...(signal && { signal }),
      })
    const hold = () => upstream.next((response) => beginChunks(response, chunk({ content: 'Twelve letters and more' })))
    hold()
    const answer = await open('/chat', { message: 'What?', conversationId: 'stopped' })
    await answer.body?.getReader().read()
    await open('/chat/stopped/stop', {})
    hold()
    const leaving = new AbortController()
    const stream = await open(complete().url, { ...complete().payload, stream: true }, leaving.signal)
    await stream.body?.getReader().read()
    leaving.abort()
    const items = await untilCounted(shared, headers, 2)
    expect(items).toMatchObject(
      ['chat', 'dialect'].map((kind) => ({ kind, requests: 1, outputTokens: expect.any(Number), estimated: 1 })),
    )
    for (const { outputTokens } of items) expect(outputTokens).toBeLessThanOrEqual(6)
  })
})

it('counts each step of an answer with tools, and its tool calls', async () => {
  const model = createScriptedModel({ tools: true })
  const one = await startApp({ llm: model.llm, environment: { RETRIEVAL: 'tool' } })
  const asked = one.app.inject({ ...post('/chat', { message: 'Why?' }), headers: one.alice })
  const usage = { inputTokens: 50, outputTokens: 10 }
  const first = await model.takeAnswer()
  for (const id of ['1', '2']) first.call(id, 'search_documents', '{"query":"why"}')
  first.end('tool-calls', usage)
  const second = await model.takeAnswer()
  second.say('So.')
  second.end('stop', usage)
  await asked
  const items = await untilCounted(one, one.alice, 4)
  expect(items.find(({ kind }) => kind === 'chat')).toMatchObject({
    requests: 2,
    inputTokens: 100,
    toolCalls: 2,
    estimated: 0,
  })
  expect(items.find(({ kind }) => kind === 'embedding')).toMatchObject({ requests: 2, estimated: 2 })
})

it('counts the title of a conversation', async () => {
  const one = await startApp({ environment: { ...environment, CONVERSATION_TITLES: 'model' } })
  upstream.next(sendChunks(chunk({ content: 'Here.' }), chunk({}, 'stop'), usageChunk))
  upstream.next(sendChunks(chunk({ content: 'A title' }), chunk({}, 'stop'), usageChunk))
  await one.app.inject({ ...post('/chat', { message: 'What?' }), headers: one.alice })
  expect(await untilCounted(one, one.alice, 2)).toMatchObject([{ kind: 'chat', inputTokens: 200, outputTokens: 40 }])
})

it('stores what was counted before a shutdown, and adds up processes', async () => {
  const one = await startApp({ environment })
  const other = await testApp({ environment, database: one.test })
  for (const { app } of [one, other]) {
    upstream.next(sendJson({ ...completion({ content: 'Here.' }), usage: reported }))
    await app.inject({ ...complete(), headers: one.alice })
  }
  await other.close()
  expect(await readUsage(one, one.alice)).toMatchObject([{ requests: expect.any(Number) }])
  expect(await untilCounted(one, one.alice, 2)).toMatchObject([{ requests: 2, inputTokens: 200 }])
})

it('counts an answer on the day in UTC on which it ends', async () => {
  const one = await startApp({ environment })
  const midnight = Math.ceil(Date.now() / 86_400_000) * 86_400_000
  vi.useFakeTimers({ toFake: ['Date'], now: midnight - 1000 })
  onTestFinished(() => void vi.useRealTimers())
  for (let call = 0; call < 2; call += 1) {
    upstream.next(sendJson({ ...completion({ content: 'Here.' }), usage: reported }))
    await one.app.inject({ ...complete(), headers: one.alice })
    vi.setSystemTime(midnight + 1000)
  }
  await untilCounted(one, one.alice, 2)
  const days = [midnight - 1, midnight].map((time) => new Date(time).toISOString().slice(0, 10))
  const items = await readUsage(one, one.alice, `from=${days[0]}&to=${days[1]}`.concat('&by=day'))
  expect(items).toMatchObject(days.map((day) => ({ day, requests: 1, cost: 0.000246 })))
  expect(await readUsage(one, one.alice, `from=${days[1]}&to=${days[1]}&by=day`)).toMatchObject([{ day: days[1] }])
})

describe('GET /usage', () => {
  it('returns the last 30 days by day, of its owner only', async () => {
    const headers = await createOwner()
    upstream.next(sendJson({ ...completion({ content: 'Here.' }), usage: reported }))
    await shared.app.inject({ ...complete(), headers })
    await expect.poll(() => readUsage(shared, headers)).toHaveLength(1) // stored by itself
    const today = new Date().toISOString().slice(0, 10)
    const { model: _, ...counts } = counted
    const { items, from, to } = Usage.parse((await shared.app.inject({ url: '/usage', headers })).json())
    expect(items).toEqual([{ day: today, ...counts }])
    expect([to, Date.parse(to) - Date.parse(from)]).toEqual([today, 29 * 86_400_000])
    expect(await readUsage(shared, await createOwner())).toEqual([])
  })

  it.each([
    'from=yesterday',
    'to=2026-02-30',
    'from=2026-02-02&to=2026-02-01',
    'from=2024-01-01&to=2026-01-01',
    'by=hour',
  ])('rejects %s', async (query) => {
    const response = await shared.app.inject({ url: `/usage?${query}`, headers: shared.alice })
    expect(response.json()).toMatchObject({ status: 400, code: 'invalid_request' })
  })
})
