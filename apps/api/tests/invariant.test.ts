import { setTimeout as sleep } from 'node:timers/promises'
import { connect, sql } from '@repo/db'
import { createTestDatabase, watchConnections } from '@repo/db/testing'
import { mockAnswer, startMockModel } from '@repo/testing/mock-model'
import { startApi } from '@repo/testing/processes'
import { joinText, listTypes, post, readParts } from '@repo/testing/ui-stream'
import { expect, it, onTestFinished } from 'vitest'

// The promise of this project: the number of connections in use is independent of the number of streaming answers.

const [streams, poolSize, sampleCount] = [300, 5, 60]
const toolChats = 500
const answerTokens = 2000 // one every 100 ms: answers stream until the processes are told to stop

it('while 300 answers stream from two processes, none holds a connection, and each is stored', async ({ annotate }) => {
  const test = await createTestDatabase()
  onTestFinished(test.drop)
  const mock = await startMockModel()
  onTestFinished(mock.close)
  const models = { OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock', EMBEDDING_MODEL: 'mock-embed-384' }
  const limits = { DATABASE_POOL_SIZE: `${poolSize}`, DRAIN_TIMEOUT_MS: '0' }
  const start = () => startApi({ DATABASE_URL: test.databaseUrl, ...models, ...limits })
  const apis = await Promise.all([start(), start()])
  const connections = watchConnections(test.databaseUrl)
  onTestFinished(async () => void (await connections.close()))

  const questions = Array.from(
    { length: streams },
    (_, n) => `question ${n} [mock tokens=${answerTokens} interval=100]`,
  )
  const answers = questions.map(async (message, n) =>
    readParts(await post(`${apis[n % apis.length]?.url}/chat`, {}, { message, conversationId: `c-${n}` })),
  )
  await expect.poll(() => mock.stats().open).toBe(streams)
  const samples: Awaited<ReturnType<typeof connections.sample>>[] = []
  for (; samples.length < sampleCount; await sleep(50)) samples.push(await connections.sample())
  expect(mock.stats()).toMatchObject({ open: streams, started: streams })

  const busy = samples.filter(({ active }) => active > 2).length
  const backends = Math.max(...samples.map(({ total = Infinity }) => total))
  expect(samples.filter(({ idleInTransaction }) => idleInTransaction !== 0)).toEqual([])
  expect(samples.filter(({ waiting }) => waiting !== 0)).toEqual([])
  expect(busy).toBeLessThanOrEqual(sampleCount / 10) // the progress of all answers is stored once per second
  expect(backends).toBeLessThanOrEqual(apis.length * poolSize)
  await annotate(
    `${streams} open streams, ${sampleCount} samples: 0 open transactions, 0 waiting, ${busy} times more than 2 busy, ` +
      `${backends} backends at most`,
  )

  for (const { child } of apis) child.kill('SIGTERM')
  const texts = (await Promise.all(answers)).map(joinText)
  const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
  onTestFinished(close)
  const stored = await db.execute<{ n: number; content: string }>(sql`
    select substr(conversation_id, 3)::int as n, content from messages where status = 'interrupted' order by n`)
  expect(stored.map(({ content }) => content)).toEqual(texts)
  for (const [n, question] of questions.entries()) {
    expect(texts[n]?.length).toBeGreaterThan(0)
    expect(mockAnswer(question, answerTokens).startsWith(texts[n] ?? '')).toBe(true)
  }
})

it('500 chats that search twice each are answered without a held connection or a waiting client', async ({
  annotate,
}) => {
  const test = await createTestDatabase()
  onTestFinished(test.drop)
  const mock = await startMockModel()
  onTestFinished(mock.close)
  const models = { OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock', EMBEDDING_MODEL: 'mock-embed-384?delay=200' }
  const limits = { DATABASE_POOL_SIZE: `${2 * poolSize}`, RETRIEVAL: 'tool' }
  const start = () => startApi({ DATABASE_URL: test.databaseUrl, ...models, ...limits })
  const apis = await Promise.all([start(), start()])
  const connections = watchConnections(test.databaseUrl)
  onTestFinished(async () => void (await connections.close()))
  await openBackends(test.databaseUrl, apis.length * 2 * poolSize)

  const settings = '[mock calls=2 tokens=100 interval=100 delay=500]'
  let open = toolChats
  const answers = Array.from({ length: toolChats }, async (_, n) => {
    const url = `${apis[n % apis.length]?.url}/chat`
    await sleep(n * 10) // all are open after 5 s, and each takes more than 12 s
    const parts = await readParts(
      await post(url, {}, { message: `question ${n} ${settings}`, conversationId: `c-${n}` }),
    )
    open -= 1
    return parts
  })
  const samples: Awaited<ReturnType<typeof connections.sample>>[] = []
  let most = 0
  for (; open > 0; await sleep(20)) {
    samples.push(await connections.sample())
    most = Math.max(most, mock.stats().open)
  }

  const step = [
    'start-step',
    'tool-input-start',
    'tool-input-delta',
    'tool-input-available',
    'tool-output-available',
    'finish-step',
  ]
  const text = ['start-step', 'text-start', 'text-delta', 'text-end', 'finish-step', 'finish', '[DONE]']
  for (const [n, parts] of (await Promise.all(answers)).entries()) {
    expect(listTypes(parts)).toEqual(['start', 'data-conversation', ...step, ...step, ...text])
    expect(joinText(parts)).toBe(mockAnswer(`question ${n} ${settings}`, 100))
  }
  expect(samples.filter(({ idleInTransaction }) => idleInTransaction !== 0)).toEqual([])
  expect(samples.filter(({ waiting }) => waiting !== 0)).toEqual([])
  const backends = Math.max(...samples.map(({ total = Infinity }) => total))
  expect(backends).toBeLessThanOrEqual(apis.length * 2 * poolSize)
  expect(most).toBeGreaterThan(toolChats / 2) // those whose tool runs have no open call
  const embeddings = 2 * toolChats + apis.length // each API embeds one text when it starts
  expect(mock.stats()).toMatchObject({ started: 3 * toolChats, completed: 3 * toolChats, embeddings })
  await annotate(
    `${toolChats} chats of two tool calls each, ${samples.length} samples: 0 failed, 0 open transactions, 0 waiting, ` +
      `${backends} backends at most`,
  )
})

/** Makes PgBouncer open its connections, because clients wait while it opens one after the other. */
async function openBackends(url: string, poolSize: number): Promise<void> {
  const { db, close } = connect({ url, poolSize })
  await Promise.all(Array.from({ length: poolSize }, () => db.execute(sql`select pg_sleep(1)`)))
  await close()
}
