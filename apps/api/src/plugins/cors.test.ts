import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestApp, testApp } from '../testing.ts'

const page = 'https://chat.example'
const apps = ['app://-', 'chrome-extension://abcdef', 'tauri://localhost', 'capacitor://localhost']

describe('with CORS_ORIGINS', () => {
  let test: TestApp
  beforeAll(async () => {
    test = await testApp({ environment: { CORS_ORIGINS: [page, ...apps].join() } })
  })
  afterAll(() => test.close())

  it('answers a preflight from a listed origin without a key', async () => {
    const headers = {
      origin: page,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    }
    const response = await test.app.inject({ method: 'OPTIONS', url: '/chat', headers })
    expect(response.statusCode).toBe(204)
    expect(response.headers).toMatchObject({
      'access-control-allow-origin': page,
      'access-control-allow-headers': 'authorization',
    })
  })

  it('lets a listed origin read streamed answers and errors', async () => {
    const ask = (payload: object) =>
      test.app.inject({ method: 'POST', url: '/chat', headers: { ...test.alice, origin: page }, payload })
    const [answer, error] = [await ask({ message: 'Hello?' }), await ask({})]
    expect([answer.statusCode, error.statusCode]).toEqual([200, 400])
    for (const { headers } of [answer, error]) expect(headers['access-control-allow-origin']).toBe(page)
  })

  it.each(apps)('lets the app %s call', async (origin) => {
    const response = await test.app.inject({ url: '/documents', headers: { ...test.alice, origin } })
    expect(response.headers['access-control-allow-origin']).toBe(origin)
  })

  it('rejects other origins', async () => {
    const headers = { ...test.alice, origin: 'https://other.example' }
    const response = await test.app.inject({ url: '/documents', headers })
    expect(response.headers['access-control-allow-origin']).toBeUndefined()
  })
})

describe('without CORS_ORIGINS', () => {
  it('rejects every other origin', async () => {
    const test = await testApp()
    const response = await test.app.inject({ url: '/documents', headers: { ...test.alice, origin: page } })
    expect(response.headers['access-control-allow-origin']).toBeUndefined()
    await test.close()
  })
})
