import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { afterAll, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const gate = await openTcpProxy()
const { app, close } = await testApp({ gate })
afterAll(async () => {
  await close()
  await gate.shut()
})

const problem = {
  status: 503,
  code: 'database_unavailable',
  detail: 'The database is not responding. Try again in a moment.',
}

it('reports live and ready without a key', async () => {
  for (const url of ['/health/live', '/health/ready']) {
    const response = await app.inject({ url })
    expect(response.statusCode).toBe(200)
    expect(response.json()).toEqual({ status: 'ok' })
  }
})

it('is live but not ready while the database is unavailable, and recovers without a restart', async () => {
  await gate.shut()
  const response = await app.inject('/health/ready')
  expect(response.json()).toMatchObject(problem)
  expect(response.headers).toMatchObject({
    'retry-after': '2',
    'content-type': 'application/problem+json; charset=utf-8',
  })
  expect((await app.inject('/health/live')).statusCode).toBe(200)
  await gate.open()
  await expect.poll(async () => (await app.inject('/health/ready')).statusCode).toBe(200)
})

it('is not ready when the database accepts connections but never responds', async () => {
  gate.stall()
  const response = await app.inject('/health/ready')
  expect(response.json()).toMatchObject(problem)
  await gate.shut()
  await gate.open()
})

it('is not ready while it shuts down', async () => {
  await app.chat.drain(0)
  expect((await app.inject('/health/ready')).json()).toMatchObject({ status: 503, code: 'shutting_down' })
  expect((await app.inject('/health/live')).statusCode).toBe(200)
})
