import { connect, createStore, createUsageRecorder, usage } from '@repo/db'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type TestApp, type TestOptions, testApp } from '../testing.ts'
import { createQuotas } from './quotas.ts'

async function startApp(options: TestOptions): Promise<TestApp> {
  const app = await testApp(options)
  onTestFinished(app.close)
  return app
}

const search = ({ app }: TestApp, headers: TestApp['alice']) => app.inject({ url: '/search?q=anything', headers })
const list = ({ app }: TestApp, headers: TestApp['alice']) => app.inject({ url: '/documents', headers })

/** Sets the clock to the start of a minute, so that no request of a test falls into the next one. */
function startMinute() {
  vi.useFakeTimers({ toFake: ['Date'], now: Math.ceil(Date.now() / 60_000) * 60_000 + 10_000 })
  onTestFinished(() => void vi.useRealTimers())
}

/** Creates the quotas of another API process on the same database. */
function createPeer(one: TestApp, limits: { requests?: number; streams?: number }) {
  const database = connect({ url: one.test.databaseUrl, poolSize: 1 })
  const other = createQuotas({
    config: { OWNER_REQUESTS_PER_MINUTE: limits.requests, OWNER_STREAMS: limits.streams },
    store: createStore(database.db),
    usage: createUsageRecorder(),
    log: one.app.log,
  })
  onTestFinished(async () => {
    await other.close()
    await database.close()
  })
  return other
}

describe('OWNER_REQUESTS_PER_MINUTE', () => {
  it('rejects rate-limited requests with 429 until the next minute, for this owner only', async () => {
    startMinute()
    const one = await startApp({ environment: { OWNER_REQUESTS_PER_MINUTE: '2' } })
    const { app, alice, bob } = one
    expect((await search(one, alice)).statusCode).toBe(200)
    const document = {
      method: 'POST',
      url: '/documents',
      headers: alice,
      payload: { title: 'A', text: 'A text.' },
    } as const
    expect((await app.inject(document)).statusCode).toBe(202)
    for (const refused of [await search(one, alice), await app.inject(document)]) {
      expect(refused.statusCode).toBe(429)
      expect(refused.headers['content-type']).toContain('application/problem+json')
      expect(refused.json()).toMatchObject({ status: 429, code: 'rate_limited', limit: 2 })
      expect(Number(refused.headers['retry-after'])).toBe(50)
    }
    expect((await list(one, alice)).statusCode).toBe(200)
    expect((await search(one, bob)).statusCode).toBe(200)
    vi.setSystemTime(Date.now() + 50_000)
    expect((await search(one, alice)).statusCode).toBe(200)
  })

  it.each([3_600_000, -3_600_000])('keeps counting when the clock is stepped by %i ms', async (step) => {
    startMinute()
    const one = await startApp({ environment: { OWNER_REQUESTS_PER_MINUTE: '1' } })
    for (const _ of ['before', 'after']) {
      expect((await search(one, one.alice)).statusCode).toBe(200)
      const refused = await search(one, one.alice)
      expect([refused.statusCode, refused.headers['retry-after']]).toEqual([429, '50'])
      vi.setSystemTime(Date.now() + step)
    }
  })

  it('sends the 429 in OpenAI’s envelope below /v1/', async () => {
    startMinute()
    const { app, alice } = await startApp({ environment: { OWNER_REQUESTS_PER_MINUTE: '1' } })
    const payload = { model: 'offline-384', input: 'a text' }
    const embed = () => app.inject({ method: 'POST', url: '/v1/embeddings', headers: alice, payload })
    expect((await embed()).statusCode).toBe(200)
    const refused = await embed()
    expect(refused.statusCode).toBe(429)
    expect(refused.headers['retry-after']).toBe('50')
    expect(refused.json()).toEqual({
      error: {
        type: 'rate_limit_error',
        code: 'rate_limited',
        message: expect.stringContaining('Rate limit exceeded'),
        param: null,
      },
    })
  })

  it('is checked after authentication and before the body is read', async () => {
    startMinute()
    const { app, alice } = await startApp({ environment: { OWNER_REQUESTS_PER_MINUTE: '1' } })
    const ask = (headers: object) =>
      app.inject({
        method: 'POST',
        url: '/chat',
        headers: { ...headers, 'content-type': 'application/json' },
        payload: '{',
      })
    expect((await ask(alice)).statusCode).toBe(400)
    expect((await ask(alice)).statusCode).toBe(429)
    expect((await ask({})).statusCode).toBe(401)
  })

  it('applies across all processes, within about a second', async () => {
    startMinute()
    const limit = 1000 // more requests than this process receives itself
    const one = await startApp({ environment: { OWNER_REQUESTS_PER_MINUTE: `${limit}` } })
    const other = createPeer(one, { requests: limit })
    const owner = await one.store.owners.ensure('alice')
    for (let request = 0; request < limit; request += 1) other.countRequest(owner)
    expect(() => other.countRequest(owner)).toThrow()
    // A request that arrives before the next sync is accepted: this is how far the limit can be exceeded.
    expect((await search(one, one.alice)).statusCode).toBe(200)
    await expect.poll(async () => (await search(one, one.alice)).statusCode).toBe(429)
  })

  it('applies in each process while the database is unavailable', async () => {
    startMinute()
    const gate = await openTcpProxy()
    const one = await startApp({ gate, environment: { OWNER_REQUESTS_PER_MINUTE: '2' } })
    const owner = await one.store.owners.ensure('alice')
    const alone = createQuotas({
      config: { OWNER_REQUESTS_PER_MINUTE: 2, OWNER_STREAMS: undefined },
      store: one.store,
      usage: createUsageRecorder(),
      log: one.app.log,
    })
    onTestFinished(alone.close)
    await gate.shut()
    alone.countRequest(owner)
    alone.countRequest(owner)
    expect(() => alone.countRequest(owner)).toThrow(expect.objectContaining({ status: 429 }))
    await gate.open()
  })
})

describe('OWNER_STREAMS', () => {
  it('rejects new answers with 429 while the limit of concurrent answers is reached', async () => {
    const spoken = createScriptedModel()
    const { app, alice, bob } = await startApp({ llm: spoken.llm, environment: { OWNER_STREAMS: '1' } })
    const ask = (headers: TestApp['alice']) =>
      app.inject({ method: 'POST', url: '/chat', headers, payload: { message: 'a question' } })
    const first = ask(alice)
    const answer = await spoken.takeAnswer()
    const refused = await ask(alice)
    expect(refused.json()).toMatchObject({ status: 429, code: 'owner_stream_limit', limit: 1 })
    expect(refused.headers['retry-after']).toBe('5')
    const others = ask(bob)
    for (const running of [answer, await spoken.takeAnswer()]) running.end()
    expect((await first).statusCode).toBe(200)
    expect((await others).statusCode).toBe(200)
    const next = ask(alice)
    const nextAnswer = await spoken.takeAnswer()
    nextAnswer.end()
    expect((await next).statusCode).toBe(200)
  })

  it('counts answers of other processes while those processes run', async () => {
    const one = await startApp({ environment: { OWNER_STREAMS: '2' } })
    const owner = await one.store.owners.ensure('alice')
    const other = createPeer(one, { streams: 2 })
    const here = createPeer(one, { streams: 2 })
    other.acquireStream(owner)
    here.acquireStream(owner)
    const tryOnce = () => {
      here.acquireStream(owner)
      here.releaseStream(owner)
    }
    await expect.poll(() => isRejected(tryOnce)).toBe(true)
    other.releaseStream(owner)
    await expect.poll(() => isRejected(tryOnce)).toBe(false)
    other.acquireStream(owner)
    await expect.poll(() => isRejected(tryOnce)).toBe(true)
    void other.close() // as if it had crashed
    await expect.poll(() => isRejected(tryOnce)).toBe(false)
  })
})

function isRejected(work: () => void): boolean {
  try {
    work()
    return false
  } catch {
    return true
  }
}

it('writes nothing to the database without limits or without rate-limited requests', async () => {
  startMinute()
  const one = await startApp({ environment: { OWNER_REQUESTS_PER_MINUTE: '9', OWNER_STREAMS: '9' } })
  const sync = vi.spyOn(one.store.usage, 'sync')
  await list(one, one.alice)
  await new Promise((resolve) => setTimeout(resolve, 2500)) // two sync intervals
  expect(sync).not.toHaveBeenCalled()
  await search(one, one.alice)
  await expect.poll(() => one.app.db.select().from(usage)).toMatchObject([{ requests: 1, streams: 0 }])
  const unlimited = await startApp({})
  await search(unlimited, unlimited.alice)
  expect(await unlimited.app.db.select().from(usage)).toEqual([])
})
