import { connect, createStore, usage } from '@repo/db'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createSpokenModel, openGate, type TestApp, type TestOptions, testApp } from '../testing.ts'
import { createOwnerLimits } from './limits-by-owner.ts'

async function startApp(options: TestOptions): Promise<TestApp> {
  const app = await testApp(options)
  onTestFinished(app.close)
  return app
}

const search = ({ app }: TestApp, headers: TestApp['alice']) => app.inject({ url: '/search?q=anything', headers })
const list = ({ app }: TestApp, headers: TestApp['alice']) => app.inject({ url: '/documents', headers })

/** A minute that has just begun: nothing that a test counts falls into the next one. */
function startMinute() {
  vi.useFakeTimers({ toFake: ['Date'], now: Math.ceil(Date.now() / 60_000) * 60_000 + 10_000 })
  onTestFinished(() => void vi.useRealTimers())
}

/** Another API process on the same database, as far as limits go. */
function joinAs(one: TestApp, limits: { requests?: number; streams?: number }) {
  const database = connect({ url: one.test.databaseUrl, poolSize: 1 })
  const other = createOwnerLimits({
    config: { OWNER_REQUESTS_PER_MINUTE: limits.requests, OWNER_STREAMS: limits.streams },
    store: createStore(database.db),
    log: one.app.log,
  })
  onTestFinished(async () => {
    other.close()
    await database.close()
  })
  return other
}

describe('OWNER_REQUESTS_PER_MINUTE', () => {
  it('429 for what costs something once an owner has had it, until the next minute; nobody else notices', async () => {
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

  it('429 in OpenAI’s envelope below /v1/', async () => {
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
        message: expect.stringContaining('1 request'),
        param: null,
      },
    })
  })

  it('comes before the body, and after the key', async () => {
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

  it('holds for all processes together, within about a second', async () => {
    startMinute()
    const limit = 1000 // more than this process is asked itself
    const one = await startApp({ environment: { OWNER_REQUESTS_PER_MINUTE: `${limit}` } })
    const other = joinAs(one, { requests: limit })
    const owner = await one.store.owners.ensure('alice')
    for (let request = 0; request < limit; request += 1) other.countRequest(owner)
    expect(() => other.countRequest(owner)).toThrow()
    // One that comes before the other process has told is let in: that is the overrun.
    expect((await search(one, one.alice)).statusCode).toBe(200)
    await expect.poll(async () => (await search(one, one.alice)).statusCode).toBe(429)
  })

  it('holds in each process while the database is away', async () => {
    startMinute()
    const gate = await openGate()
    const one = await startApp({ gate, environment: { OWNER_REQUESTS_PER_MINUTE: '2' } })
    const owner = await one.store.owners.ensure('alice')
    const alone = createOwnerLimits({
      config: { OWNER_REQUESTS_PER_MINUTE: 2, OWNER_STREAMS: undefined },
      store: one.store,
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
  it('429 while that many answers of an owner are written, though their clients have left; room again after them', async () => {
    const spoken = createSpokenModel()
    const { app, alice, bob } = await startApp({ llm: spoken.llm, environment: { OWNER_STREAMS: '1' } })
    const ask = (headers: TestApp['alice']) =>
      app.inject({ method: 'POST', url: '/chat', headers, payload: { message: 'a question' } })
    const first = ask(alice)
    const answer = await spoken.takeAnswer()
    const refused = await ask(alice)
    expect(refused.json()).toMatchObject({ status: 429, code: 'too_many_streams_of_owner', limit: 1 })
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

  it('counts answers of other processes, for as long as those live', async () => {
    const one = await startApp({ environment: { OWNER_STREAMS: '2' } })
    const owner = await one.store.owners.ensure('alice')
    const other = joinAs(one, { streams: 2 })
    const here = joinAs(one, { streams: 2 })
    other.takeStream(owner)
    here.takeStream(owner)
    const tryOnce = () => {
      here.takeStream(owner)
      here.leaveStream(owner)
    }
    await expect.poll(() => isRefused(tryOnce)).toBe(true)
    other.leaveStream(owner)
    await expect.poll(() => isRefused(tryOnce)).toBe(false)
    other.takeStream(owner)
    await expect.poll(() => isRefused(tryOnce)).toBe(true)
    other.close() // as if it had died
    await expect.poll(() => isRefused(tryOnce)).toBe(false)
  })
})

function isRefused(work: () => void): boolean {
  try {
    work()
    return false
  } catch {
    return true
  }
}

it('without limits, or without anybody who costs anything, the database hears nothing', async () => {
  startMinute()
  const one = await startApp({ environment: { OWNER_REQUESTS_PER_MINUTE: '9', OWNER_STREAMS: '9' } })
  const exchange = vi.spyOn(one.store.usage, 'exchange')
  await list(one, one.alice)
  await new Promise((resolve) => setTimeout(resolve, 2500)) // two rounds, in which nothing happens
  expect(exchange).not.toHaveBeenCalled()
  await search(one, one.alice)
  await expect.poll(() => one.app.db.select().from(usage)).toMatchObject([{ requests: 1, streams: 0 }])
  const unlimited = await startApp({})
  await search(unlimited, unlimited.alice)
  expect(await unlimited.app.db.select().from(usage)).toEqual([])
})
