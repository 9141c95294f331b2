import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestApp, testApp } from '../testing.ts'

let test: TestApp
beforeAll(async () => {
  test = await testApp()
})
afterAll(() => test.close())

const policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
const everywhere = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-permitted-cross-domain-policies': 'none',
}

describe('browsers may show a response to its own page only, and not cache it', () => {
  it.each([
    ['JSON', { url: '/documents' }, 200],
    ['an error', { url: '/documents/none' }, 404],
    ['a route that does not exist', { url: '/none' }, 404],
    ['a URL that cannot be decoded', { url: '/documents/%zz' }, 400],
    ['a request without a key', { url: '/documents', headers: {} }, 401],
    ['a body that cannot be read', { url: '/documents', method: 'POST' as const, payload: '{' }, 415],
    ['an empty response', { url: '/chat/none/stream' }, 204],
    ['the OpenAI API', { url: '/v1/models' }, 200],
    ['the OpenAPI document', { url: '/openapi.json' }, 200],
  ])('%s', async (_, request, status) => {
    const response = await test.app.inject({ headers: test.alice, ...request })
    expect(response.statusCode).toBe(status)
    expect(response.headers).toMatchObject({
      ...everywhere,
      'content-security-policy': policy,
      'cache-control': 'no-store',
    })
  })

  it.each([
    ['/chat', { message: 'Hello?' }],
    ['/v1/chat/completions', { model: 'offline', stream: true, messages: [{ role: 'user', content: 'Hello?' }] }],
  ])('a stream of %s, which proxies must not cache or transform', async (url, payload) => {
    const { headers } = await test.app.inject({ method: 'POST', url, headers: test.alice, payload })
    expect(headers).toMatchObject({
      ...everywhere,
      'content-type': 'text/event-stream; charset=utf-8',
      'content-security-policy': policy,
      'cache-control': 'no-store, no-transform',
    })
  })

  it('does not reveal the server software', async () => {
    const { headers } = await test.app.inject({ url: '/documents', headers: test.alice })
    expect(headers).not.toHaveProperty('server')
    expect(headers).not.toHaveProperty('x-powered-by')
  })
})

describe('the page at /docs', () => {
  it('may run its own scripts and call this API, and other pages may not embed it', async () => {
    const { headers } = await test.app.inject('/docs')
    expect(headers).toMatchObject(everywhere)
    const own = String(headers['content-security-policy'])
    for (const rule of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"])
      expect(own.split('; ')).toContain(rule)
  })

  it('contains no inline script, which its policy would block', async () => {
    const { body } = await test.app.inject('/docs')
    expect(body).toContain('<script src=')
    expect(body).not.toMatch(/<script(?![^>]* src=)/)
  })
})

describe('Strict-Transport-Security', () => {
  it('is sent for requests that reached the proxy over TLS, without subdomains', async () => {
    const proxied = await testApp({ environment: { TRUST_PROXY: 'true' } })
    const ask = async (protocol: string) =>
      (await proxied.app.inject({ url: '/health/live', headers: { 'x-forwarded-proto': protocol } })).headers
    expect((await ask('https'))['strict-transport-security']).toBe('max-age=31536000')
    expect(await ask('http')).not.toHaveProperty('strict-transport-security')
    await proxied.close()
  })

  it('is not sent when an untrusted client claims TLS', async () => {
    const headers = { 'x-forwarded-proto': 'https' }
    expect((await test.app.inject({ url: '/health/live', headers })).headers).not.toHaveProperty(
      'strict-transport-security',
    )
  })
})
