import { createKey } from '@repo/db'
import { startMockModel } from '@repo/testing/mock-model'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type TestApp, type TestOptions, testApp } from '../testing.ts'

const mock = await startMockModel()
afterAll(mock.close)
const environment = {
  OPENAI_BASE_URL: mock.url,
  CHAT_MODEL: 'mock',
  EMBEDDING_MODEL: 'mock-embed-384',
  RETRIEVAL: 'off',
}
const withBudget = { ...environment, OWNER_TOKENS_PER_DAY: '30' }

async function startApp(options: TestOptions): Promise<TestApp> {
  const app = await testApp(options)
  onTestFinished(app.close)
  return app
}

/** Sets the clock to a minute before midnight in UTC. Returns the time of midnight. */
function startBeforeMidnight() {
  const midnight = Math.ceil(Date.now() / 86_400_000) * 86_400_000
  vi.useFakeTimers({ toFake: ['Date'], now: midnight - 60_000 })
  onTestFinished(() => void vi.useRealTimers())
  return midnight
}

const post = (url: string, payload: object) => ({ method: 'POST', url, payload }) as const
const chat = post('/chat', { message: 'Why? [mock tokens=10]' }) // 20 tokens with those of the question
const messages = [{ role: 'user', content: 'Why? [mock tokens=10]' }]
const completion = post('/v1/chat/completions', { model: 'mock', messages, retrieval: false })
const spending = [
  chat,
  completion,
  post('/v1/responses', { model: 'mock', input: 'Why?', retrieval: false }),
  post('/v1/embeddings', { model: 'mock-embed-384', input: 'a text' }),
  { method: 'GET', url: '/search?q=why' },
] as const
const ask = async ({ app }: TestApp, headers: TestApp['alice'], request: (typeof spending)[number] = chat) =>
  app.inject({ ...request, headers })
const statusOf = async (...args: Parameters<typeof ask>) => (await ask(...args)).statusCode
const headersFor = async ({ store }: TestApp, owner: string, tokensPerDay?: number) => ({
  authorization: `Bearer ${await createKey(store, owner, tokensPerDay === undefined ? {} : { tokensPerDay })}`,
})

describe('OWNER_TOKENS_PER_DAY', () => {
  it('refuses all that calls a model with 429 until midnight in UTC, for this owner only', async () => {
    const midnight = startBeforeMidnight()
    const one = await startApp({ environment: withBudget })
    const calls = mock.requests.length
    for (const status of [200, 200, 429]) expect(await statusOf(one, one.alice)).toBe(status) // 0, 20 and 40 tokens
    for (const request of spending) {
      const { statusCode, headers, body } = await ask(one, one.alice, request)
      expect([statusCode, headers['retry-after'], headers['x-should-retry']]).toEqual([429, '60', 'false'])
      const reset = new Date(midnight).toISOString().replace('.000', '')
      const detail = `The token budget for today is used up: 30 tokens per day for you. It resets at ${reset}.`
      expect(JSON.parse(body)).toMatchObject(
        request.url.startsWith('/v1/')
          ? { error: { code: 'token_budget', type: 'rate_limit_error', message: detail } }
          : { code: 'token_budget', status: 429, limit: 30, detail },
      )
    }
    expect(mock.requests.length - calls).toBe(2)
    const { body: metrics } = await one.app.inject({ url: '/metrics', headers: one.bob })
    expect(metrics).toContain(`sluice_refused_requests_total{code="token_budget"} ${1 + spending.length}\n`)
    expect((await one.app.inject({ url: '/conversations', headers: one.alice })).statusCode).toBe(200)
    expect(await statusOf(one, one.bob)).toBe(200)
    vi.setSystemTime(midnight)
    expect(await statusOf(one, one.alice)).toBe(200)
  })

  it('counts what other processes and earlier ones have stored', async () => {
    const one = await startApp({ environment: withBudget })
    const other = await testApp({ environment: withBudget, database: one.test })
    expect([await statusOf(one, one.alice), await statusOf(other, one.alice)]).toEqual([200, 200])
    await other.close() // which stores its 20 tokens
    expect(await statusOf(one, one.alice)).toBe(429)
    await one.app.usage.flush(one.store.usage.store)
    const restarted = await testApp({ environment: withBudget, database: one.test })
    onTestFinished(restarted.close)
    expect(await statusOf(restarted, one.alice)).toBe(429)
  })

  it('limits the only owner of AUTH=off', async () => {
    const local = { ...withBudget, AUTH: 'off' }
    const one = await startApp({ environment: local })
    const other = await testApp({ environment: local, database: one.test })
    const nobody = { authorization: '' }
    expect(await statusOf(one, nobody)).toBe(200)
    expect(await statusOf(other, nobody)).toBe(200)
    await other.close()
    await expect.poll(() => statusOf(one, nobody, spending[3])).toBe(429) // an embedding is one token
  })
})

describe('the budget of a key', () => {
  it('counts what was used with this key, and applies beside the owner’s', async () => {
    const one = await startApp({ environment })
    const [limited, free] = [await headersFor(one, 'ada', 30), await headersFor(one, 'ada')]
    for (const status of [200, 200, 200]) expect(await statusOf(one, free, completion)).toBe(status)
    for (const status of [200, 200, 429]) expect(await statusOf(one, limited, completion)).toBe(status)
    expect((await ask(one, limited)).json().detail).toContain('30 tokens per day for this key')
    expect(await statusOf(one, free)).toBe(200)
    await one.app.usage.flush(one.store.usage.store)
    const strict = await testApp({ environment: withBudget, database: one.test })
    onTestFinished(strict.close)
    expect((await ask(strict, free)).json().detail).toContain('30 tokens per day for you')
  })

  it('costs a request no statement, and is read by none that calls no model', async () => {
    const one = await startApp({ environment })
    const headers = await headersFor(one, 'ada', 30)
    const find = vi.spyOn(one.store.owners, 'findKey')
    await ask(one, headers)
    await one.app.inject({ url: '/conversations', headers })
    const found = await Promise.all(find.mock.results.map(({ value }) => value))
    expect(found).toMatchObject([{ spent: { owner: 0, key: 0 } }, { spent: null }])
  })
})
