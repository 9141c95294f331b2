import { createScriptedModel } from '@repo/testing/scripted-model'
import { openTcpProxy } from '@repo/testing/tcp-proxy'
import Fastify from 'fastify'
import { expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'
import errors from './error-handler.ts'
import overload from './overload.ts'

/** An invalid request without a key. Checking the key, the body or the database would return another error. */
const hopeless = {
  method: 'POST',
  url: '/chat',
  headers: { authorization: 'Bearer nobody’s', 'content-type': 'application/json' },
  payload: '{',
} as const

/** Creates an app whose clock the test advances. `tick(400)` is a second with a mean event loop delay of 400 ms. */
async function createTickedApp() {
  const app = Fastify()
  let tick = (_delayMs: number): void => {
    throw new Error('nothing is measured yet')
  }
  let isWatching = false
  await app.register(errors)
  await app.register(overload, {
    watchDelay: (onSample: (delayMs: number) => void) => {
      isWatching = true
      tick = onSample
      return () => {
        isWatching = false
      }
    },
  })
  app.post('/work', async () => 'done')
  app.get('/alive', { config: { neverShed: true } }, async () => 'yes')
  onTestFinished(() => app.close())
  return {
    app,
    isWatching: () => isWatching,
    tick: (...delays: number[]) => {
      for (const delayMs of delays) tick(delayMs)
    },
    work: () => app.inject({ method: 'POST', url: '/work', payload: '{', headers: { 'content-type': 'text/odd' } }),
  }
}

it('sheds after three late seconds of the last four, before reading the body, and recovers with fewer', async () => {
  const { app, tick, work } = await createTickedApp()
  await app.ready()
  tick(400, 400)
  expect((await work()).statusCode).toBe(415)
  tick(20, 400)
  const shed = await work()
  expect(shed.json()).toMatchObject({
    status: 503,
    code: 'overloaded',
    detail: 'The server is overloaded. Try again in a moment.',
  })
  expect(shed.headers['retry-after']).toBe('2')
  expect((await app.inject('/alive')).body).toBe('yes')
  tick(400, 20)
  expect((await work()).statusCode).toBe(415)
})

it('sheds nothing after one stall of any length', async () => {
  const { app, tick, work } = await createTickedApp()
  await app.ready()
  tick(20, 60_000, 20, 20, 20, 60_000)
  expect((await work()).statusCode).toBe(415)
})

it('measures from the moment that the app is ready, also with inject, until it is closed', async () => {
  const { app, isWatching, work } = await createTickedApp()
  expect(isWatching()).toBe(false)
  await work()
  expect(isWatching()).toBe(true)
  await app.close()
  expect(isWatching()).toBe(false)
})

it('serves requests that end work or show the overload while shedding all others', async () => {
  const spoken = createScriptedModel()
  const late = (onSample: (delayMs: number) => void) => {
    for (const delayMs of [400, 400, 400]) onSample(delayMs)
    return () => {}
  }
  const { app, alice, close } = await testApp({ llm: spoken.llm, watchDelay: late })
  onTestFinished(close)
  const statusOf = async (method: 'GET' | 'POST', url: string) =>
    (await app.inject({ method, url, headers: alice })).statusCode
  expect(await statusOf('GET', '/documents')).toBe(503)
  expect(await statusOf('GET', '/health/live')).toBe(200)
  expect(await statusOf('GET', '/metrics')).toBe(200)
  expect(await statusOf('GET', '/live')).toBe(200)
  expect(await statusOf('POST', '/chat/c/stop')).toBe(204)
})

it('503 while all slots are taken, before querying the database or reading the body', async () => {
  const gate = await openTcpProxy()
  const spoken = createScriptedModel()
  const { app, alice, close } = await testApp({ gate, llm: spoken.llm, environment: { MAX_STREAMS: '1' } })
  onTestFinished(close)
  const asking = app.inject({ method: 'POST', url: '/chat', headers: alice, payload: { message: 'a question' } })
  const answer = await spoken.takeAnswer()
  await gate.shut()
  const refused = await app.inject(hopeless)
  expect(refused.json()).toMatchObject({ status: 503, code: 'too_many_streams' })
  expect(refused.headers['retry-after']).toBe('2')
  await gate.open()
  answer.end()
  expect((await asking).body).toContain('[DONE]')
  expect((await app.inject(hopeless)).json()).toMatchObject({ status: 401 })
})
