import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect, createStore, sql } from '@repo/db'
import { createTestDatabase, type TestDatabase, watchConnections } from '@repo/db/testing'
import { createLlm } from '@repo/llm'
import { ingestDocument } from '@repo/rag'
import { type MockModel, mockAnswer, mockEmbedding, startMockModel } from '@repo/testing/mock-model'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'

const variants = ['floor', 'drizzle', 'held', 'blocking', 'ai-sdk'] as const
const embeddingModel = 'mock-embed-16'
let test: TestDatabase
let mock: MockModel

beforeAll(async () => {
  test = await createTestDatabase()
  mock = await startMockModel()
  const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
  const timeouts = { firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000 }
  const llm = createLlm({ baseUrl: mock.url, chatModel: 'mock', embeddingModel, beforeCall: () => {}, ...timeouts })
  const store = createStore(db)
  const document = { title: 'Office', text: 'The office opens at nine, \u00ab\u20ac 5\u00bb.' }
  await ingestDocument({ store, embedder: llm.embedder }, await store.owners.ensure('local'), document)
  llm.close()
  await close()
})

afterAll(async () => {
  await mock.close()
  await test.drop()
})

/** Starts a variant as the benchmark does, and returns its URL. */
async function start(name: string, environment: Record<string, string> = {}) {
  const child = spawn(process.execPath, [fileURLToPath(new URL(`${name}.ts`, import.meta.url))], {
    env: {
      PORT: '0',
      DATABASE_URL: test.databaseUrl,
      OPENAI_BASE_URL: mock.url,
      CHAT_MODEL: 'mock',
      EMBEDDING_MODEL: embeddingModel,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  const [line] = await Promise.race([once(createInterface(child.stdout), 'line'), ended])
  const { msg, url } = JSON.parse(line)
  expect(msg).toBe('listening')
  /** Returns the exit code and signal. */
  const stop = async () => {
    child.kill('SIGTERM')
    return ended
  }
  return { url: String(url), stop }
}

const embed = (text: string) => mockEmbedding(text, 16)

function ask(url: string, body: object, headers: Record<string, string> = {}) {
  const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers } }
  return fetch(`${url}/chat`, { ...init, body: JSON.stringify(body) })
}

async function readParts(response: Response) {
  const events = (await response.text()).match(/^data: .*$/gm) ?? []
  expect(events.pop()).toBe('data: [DONE]')
  return events.map((event) => JSON.parse(event.slice('data: '.length)))
}

async function readMessages(url: string, id: string) {
  const response = await fetch(`${url}/conversations/${id}`)
  return JSON.parse(await response.text()).messages
}

describe.for(variants)('%s', (name) => {
  let url: string
  let stop: () => Promise<unknown[]>

  beforeAll(async () => {
    ;({ url, stop } = await start(name))
  })

  afterAll(async () => void (await stop()))

  it('streams every byte of an answer and its sources, and stores them', async () => {
    const message = 'When does the "office" open, \u00e9? [mock tokens=30 interval=1]'
    const conversationId = `${name}-bytes`
    const response = await ask(url, { message, conversationId })
    expect(response.headers.get('x-vercel-ai-ui-message-stream')).toBe('v1')
    const parts = await readParts(response)
    const types = parts.map(({ type }) => type).filter((type) => !type.endsWith('-step'))
    const deltas = Array<string>(30).fill('text-delta')
    const opening = ['start', 'data-conversation', 'source-document', 'text-start']
    expect(types).toEqual([...opening, ...deltas, 'text-end', 'finish'])
    expect(parts[1].data).toEqual({ id: conversationId })
    expect(parts[2]).toMatchObject({ sourceId: '1', title: 'Office' })
    expect(parts.map(({ delta }) => delta ?? '').join('')).toBe(mockAnswer(message, 30))

    const sources = [{ n: 1, title: 'Office', ...parts[2].providerMetadata.sluice }]
    const answer = { id: parts[0].messageId, role: 'assistant', status: 'complete', sources }
    const stored = [
      { role: 'user', content: message, status: 'complete', sources: [] },
      { ...answer, content: mockAnswer(message, 30) },
    ]
    await expect.poll(() => readMessages(url, conversationId)).toMatchObject(stored)
  })

  it('sends history, passages and question to the model', async () => {
    const conversationId = `${name}-history`
    const [first, second] = ['The office? [mock tokens=2]', 'And on Sundays? [mock tokens=1]']
    await readParts(await ask(url, { message: first, conversationId }))
    await expect.poll(() => readMessages(url, conversationId)).toMatchObject([{}, { status: 'complete' }])
    await readParts(await ask(url, { message: second, conversationId }))
    expect(mock.requests.at(-1)?.body.messages).toEqual([
      { role: 'system', content: expect.any(String) },
      { role: 'user', content: first },
      { role: 'assistant', content: mockAnswer(first, 2) },
      { role: 'user', content: expect.stringMatching(/The office opens at nine, «€ 5».*>\n\nAnd on Sundays\?/s) },
    ])
  })

  it('stores the answer after its client has disconnected', async () => {
    const [message, conversationId] = ['[mock tokens=40 interval=5]', `${name}-left`]
    const response = await ask(url, { message, conversationId })
    await response.body?.cancel()
    const answer = { status: 'complete', content: mockAnswer(message, 40) }
    await expect.poll(() => readMessages(url, conversationId)).toMatchObject([{}, answer])
  })

  it('is ready, and rejects invalid questions and conversations', async () => {
    const statuses = [
      await fetch(`${url}/health/ready`),
      await ask(url, { message: ' ' }),
      await ask(url, { message: 'Hello', conversationId: 'no id' }),
      await fetch(`${url}/conversations/nobody-knows`),
    ].map(({ status }) => status)
    expect(statuses).toEqual([200, 400, 400, 404])
  })
})

describe('connections while answers stream', () => {
  /** Sends three questions whose answers stall after one token, with a pool of two connections. */
  async function stall(name: string) {
    const { url, stop } = await start(name, { DATABASE_POOL_SIZE: '2' })
    const connections = watchConnections(test.databaseUrl)
    const abort = new AbortController()
    onTestFinished(async () => {
      abort.abort()
      await stop()
      await connections.close()
    })
    const body = JSON.stringify({ message: '[mock tokens=2 fault=hang@1]' })
    const open = mock.stats().open
    for (let asked = 0; asked < 3; asked += 1) {
      const headers = { 'content-type': 'application/json' }
      fetch(`${url}/chat`, { method: 'POST', headers, body, signal: abort.signal }).catch(() => {})
    }
    return { connections, countStreams: () => mock.stats().open - open }
  }

  it('are all released in floor: every question reaches the model', async () => {
    const { connections, countStreams } = await stall('floor')
    await expect.poll(countStreams).toBe(3)
    await expect.poll(connections.sample).toMatchObject({ active: 0, waiting: 0, idleInTransaction: 0 })
  })

  it('stay in transactions in held: the pool limits the number of answers', async () => {
    const { connections, countStreams } = await stall('held')
    await expect.poll(countStreams).toBe(2)
    await expect.poll(connections.sample).toMatchObject({ active: 2, idleInTransaction: 2 })
    expect(countStreams()).toBe(2)
  })
})

it('drizzle finds the six nearest passages', async () => {
  const { url, stop } = await start('drizzle')
  const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
  onTestFinished(async () => void (await Promise.all([stop(), close()])))
  const store = createStore(db)
  const embedder = { name: embeddingModel, embed: async (texts: string[]) => texts.map(embed) }
  const owner = await store.owners.ensure('local')
  for (const wing of ['north', 'south', 'east', 'west', 'old', 'new', 'left']) {
    const document = { title: `Wing ${wing}`, text: `The ${wing} wing is closed for repairs.` }
    await ingestDocument({ store, embedder }, owner, document)
  }
  const message = 'Which wing, the south wing? [mock tokens=1]'
  const nearest = await db.execute<{ id: string }>(sql`
    select id from chunks where owner_id = ${owner} order by embedding <=> ${JSON.stringify(embed(message))}::halfvec limit 6`)
  const parts = await readParts(await ask(url, { message }))
  const sources = parts.filter(({ type }) => type === 'source-document')
  expect(sources.map(({ providerMetadata }) => providerMetadata.sluice.chunkId)).toEqual(nearest.map(({ id }) => id))
})

it('ai-sdk answers in two steps if the model searches', async () => {
  const { url, stop } = await start('ai-sdk', { RETRIEVAL: 'tool' })
  onTestFinished(async () => void (await stop()))
  const [message, conversationId] = ['When does the office open? [mock tokens=3 calls=1]', 'ai-sdk-steps']
  const parts = await readParts(await ask(url, { message, conversationId }))
  expect(parts.filter(({ type }) => type === 'start-step')).toHaveLength(2)
  expect(parts.find(({ type }) => type === 'tool-output-available').output.passages[0]).toMatchObject({ n: 1 })
  expect(parts.map(({ delta }) => delta ?? '').join('')).toBe(mockAnswer(message, 3))
  const answer = {
    status: 'complete',
    content: mockAnswer(message, 3),
    sources: expect.arrayContaining([expect.objectContaining({ n: 1 })]),
  }
  await expect.poll(() => readMessages(url, conversationId)).toMatchObject([{}, answer])
})

it('floor keeps every byte for a slow client', async () => {
  const { url, stop } = await start('floor')
  onTestFinished(async () => void (await stop()))
  const message = '[mock tokens=100000]' // several MB: more than sockets hold
  const response = await ask(url, { message })
  await sleep(500)
  const parts = await readParts(response)
  expect(parts.map(({ delta }) => delta ?? '').join('')).toBe(mockAnswer(message, 100_000))
})

it('blocking rejects a wrong key', async () => {
  const { url, stop } = await start('blocking')
  onTestFinished(async () => void (await stop()))
  const response = await ask(url, { message: 'Hello' }, { authorization: 'Bearer wrong' })
  expect(response.status).toBe(401)
})

it('WEB_CONCURRENCY processes serve one port until SIGTERM', async () => {
  const { url, stop } = await start('floor', { WEB_CONCURRENCY: '2' })
  expect((await fetch(`${url}/health/ready`)).status).toBe(200)
  expect(await stop()).toEqual([0, null])
  await expect(fetch(`${url}/health/ready`)).rejects.toThrow()
})
