import { setTimeout as sleep } from 'node:timers/promises'
import { createSpokenModel } from '@repo/testing/scripted-model'
import { openGate } from '@repo/testing/tcp-proxy'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'

const blockEventLoop = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

/** The delay is measured each second, as a mean: the first block ends a second that began well. */
async function beLate() {
  for (let blocks = 0; blocks < 3; blocks += 1) {
    blockEventLoop(2500)
    await sleep(1)
  }
}

/** A question that cannot be read, of nobody: whoever looks at its key, its body or the database says something else. */
const hopeless = {
  method: 'POST',
  url: '/chat',
  headers: { authorization: 'Bearer nobody’s', 'content-type': 'application/json' },
  payload: '{',
} as const

describe('while the event loop is seconds late', async () => {
  const gate = await openGate()
  const { app, alice, close } = await testApp({ gate })
  afterAll(close)
  const list = () => app.inject({ url: '/documents', headers: alice })

  it('503 before anybody asks the database or reads the body, but alive and measured; and 200 again after it', async () => {
    expect((await list()).statusCode).toBe(200)
    await gate.shut()
    await beLate()
    const refused = await list()
    const unread = await app.inject(hopeless)
    const alive = await app.inject('/health/live')
    for (const { json, headers } of [refused, unread]) {
      expect(json()).toMatchObject({ status: 503, code: 'overloaded' })
      expect(headers['retry-after']).toBe('2')
    }
    expect(alive.statusCode).toBe(200)
    await gate.open()
    const measured = await app.inject({ url: '/metrics', headers: alice })
    expect(measured.statusCode).toBe(200)
    await expect.poll(async () => (await list()).statusCode).toBe(200)
  })
})

it('takes requests from its first moment, however late its own start was', async () => {
  const { alice, listen, close } = await testApp()
  onTestFinished(close)
  await beLate()
  const url = await listen()
  expect((await fetch(`${url}/documents`, { headers: alice })).status).toBe(200)
})

it('503 while no more answers may run, before anybody asks the database or reads the body', async () => {
  const gate = await openGate()
  const spoken = createSpokenModel()
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
