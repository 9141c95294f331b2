import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const { app, alice, close } = await testApp()
afterAll(close)

const list = () => app.inject({ url: '/documents', headers: alice })
const blockEventLoop = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

it('503 while the event loop is seconds late, but alive and measured; and 200 again after it', async () => {
  expect((await list()).statusCode).toBe(200)
  // The delay is measured each second, as a mean: the first block ends a second that began well.
  for (let blocks = 0; blocks < 3; blocks += 1) {
    blockEventLoop(2500)
    await sleep(1)
  }
  const refused = await list()
  const alive = await app.inject('/health/live')
  const measured = await app.inject({ url: '/metrics', headers: alice })
  expect(refused.json()).toMatchObject({ status: 503, code: 'overloaded' })
  expect(refused.headers['retry-after']).toBe('2')
  expect(alive.statusCode).toBe(200)
  expect(measured.statusCode).toBe(200)
  await expect.poll(async () => (await list()).statusCode, { timeout: 5000 }).toBe(200)
})
