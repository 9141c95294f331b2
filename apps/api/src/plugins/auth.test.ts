import { apiKeys, createKey, eq } from '@repo/db'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

describe('with AUTH=required', async () => {
  const { app, store, alice, bob, work, close } = await testApp()
  afterAll(close)

  const payload = { title: 'Secret', text: 'The pineapple is in the safe.' }
  const document = (await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })).json()
  await work()
  const question = { message: 'Where is the pineapple?', conversationId: 'secret-talk' }
  await app.inject({ method: 'POST', url: '/chat', headers: alice, payload: question })
  const readAll = async (headers: typeof alice) => {
    const urls = [
      '/conversations',
      '/conversations/secret-talk',
      '/documents',
      `/documents/${document.id}`,
      '/search?q=pineapple',
    ]
    return Promise.all(urls.map(async (url) => (await app.inject({ url, headers })).json()))
  }

  const [id = '', secret = ''] = alice.authorization.replace('Bearer sl_', '').split(/_(.*)/)
  const revoked = await createKey(store, 'alice')
  await app.db
    .update(apiKeys)
    .set({ revokedAt: new Date() })
    .where(eq(apiKeys.id, revoked.slice(3, 19)))

  const past = new Date(Date.now() - 60_000)
  const expired = await createKey(store, 'alice', { expiresAt: past })

  it.each([
    ['no key', {}],
    ['no scheme', { authorization: `sl_${id}_${secret}` }],
    ['another scheme', { authorization: `Basic ${Buffer.from(`alice:${secret}`).toString('base64')}` }],
    ['a malformed key', { authorization: 'Bearer pineapple' }],
    ['a wrong secret', { authorization: `Bearer sl_${id}_${'A'.repeat(43)}` }],
    ['an unknown id', { authorization: `Bearer sl_${'0'.repeat(16)}_${secret}` }],
    ['a key that is too long', { authorization: `Bearer sl_${id}_${secret}A` }],
    ['a revoked key', { authorization: `Bearer ${revoked}` }],
    ['an expired key with a wrong secret', { authorization: `Bearer ${expired.slice(0, -43)}${'A'.repeat(43)}` }],
  ])('401 with %s', async (_, headers) => {
    const response = await app.inject({ url: '/documents', headers })
    expect(response.json()).toMatchObject({
      status: 401,
      code: 'unauthorized',
      detail: expect.stringContaining('Bearer sl_'),
    })
  })

  it('401 with a code of its own for an expired key', async () => {
    const headers = { authorization: `Bearer ${expired}` }
    const ask = async (url: string) => (await app.inject({ url, headers })).json()
    expect(await ask('/documents')).toMatchObject({
      ...{ status: 401, code: 'key_expired' },
      detail: expect.stringMatching(/^The API key has expired\. /),
    })
    expect(await ask('/v1/models')).toMatchObject({ error: { code: 'key_expired' } })
  })

  it('a key works until it expires, by the clock of the database', async () => {
    const key = await createKey(store, 'alice', { expiresAt: new Date(Date.now() + 60 * 60_000) })
    const ask = async () =>
      (await app.inject({ url: '/documents', headers: { authorization: `Bearer ${key}` } })).statusCode
    expect(await ask()).toBe(200)
    await app.db
      .update(apiKeys)
      .set({ expiresAt: past })
      .where(eq(apiKeys.id, key.slice(3, 19)))
    expect(await ask()).toBe(401)
  })

  it('401 on every route except the public ones', async () => {
    const { paths } = (await app.inject('/openapi.json')).json()
    for (const [path, methods] of Object.entries(paths)) {
      for (const method of Object.keys(Object(methods))) {
        const url = path.replace('{id}', document.id)
        const { statusCode } = await app.inject({
          method: method === 'post' ? 'POST' : method === 'delete' ? 'DELETE' : 'GET',
          url,
        })
        expect(statusCode, `${method} ${path}`).toBe(path.startsWith('/health/') ? 200 : 401)
      }
    }
    for (const url of [
      '/no-such-route',
      '/documents/',
      '//documents',
      '/health/../documents',
      '/docsx',
      '/openapi.json/documents',
    ]) {
      expect((await app.inject({ url })).statusCode, url).toBe(401)
    }
  })

  it('accepts the scheme in any case (RFC 9110)', async () => {
    const headers = { authorization: alice.authorization.replace('Bearer', 'bearer') }
    expect((await app.inject({ url: '/documents', headers })).statusCode).toBe(200)
  })

  it('shows other owners nothing in lists and search', async () => {
    const nothing = { items: [] }
    const missing = { status: 404 }
    expect(await readAll(bob)).toMatchObject([nothing, missing, nothing, missing, nothing])
  })

  it.each([
    ['GET', '/conversations/secret-talk'],
    ['DELETE', '/conversations/secret-talk'],
    ['GET', `/documents/${document.id}`],
    ['DELETE', `/documents/${document.id}`],
  ] as const)(
    '%s %s responds to another owner as if the id did not exist, and changes nothing',
    async (method, url) => {
      const before = await readAll(alice)
      const foreign = (await app.inject({ method, url, headers: bob })).json()
      const unknown = (
        await app.inject({ method, url: url.replace(/[^/]+$/, '00000000-0000-4000-8000-000000000000'), headers: bob })
      ).json()
      expect({ ...foreign, requestId: '' }).toEqual({ ...unknown, requestId: '' })
      expect(foreign.status).toBe(404)
      expect(await readAll(alice)).toEqual(before)
    },
  )

  it('keeps conversations of two owners with the same id apart', async () => {
    const before = await readAll(alice)
    const payload = { message: 'Where is the pineapple?', conversationId: 'secret-talk' }
    const { body } = await app.inject({ method: 'POST', url: '/chat', headers: bob, payload })
    expect(body).not.toContain('safe')
    expect(body).not.toContain('source-document')
    expect(await readAll(alice)).toEqual(before)
    expect(await readAll(bob)).toMatchObject([{ items: [{ id: 'secret-talk' }] }, { messages: [{}, {}] }, {}, {}, {}])
  })

  it('stores only hashes of keys', async () => {
    const rows = await app.db.select().from(apiKeys)
    expect(JSON.stringify(rows)).not.toContain(secret)
  })
})

describe('with AUTH=off', async () => {
  const { app, close } = await testApp({
    environment: {
      AUTH: 'off',
      CORS_ORIGINS: 'https://page.example,tauri://localhost',
      ALLOWED_HOSTS: 'host.docker.internal',
    },
  })
  afterAll(close)

  it.each([
    ['localhost:3000', undefined],
    ['LOCALHOST', undefined],
    ['127.0.0.1:8080', undefined],
    ['[::1]:3000', undefined],
    ['localhost:3000', 'http://localhost:3000'],
    ['127.0.0.1:3000', 'https://page.example'],
    ['127.0.0.1:3000', 'tauri://localhost'],
    ['host.docker.internal:3000', undefined],
  ])('Host %s with Origin %s may call', async (host, origin) => {
    const { statusCode } = await app.inject({ url: '/documents', headers: { host, ...(origin && { origin }) } })
    expect(statusCode).toBe(200)
  })

  it.each([
    ['rebound.example', undefined],
    ['rebound.example:3000', 'http://rebound.example:3000'],
    ['localhost.example', undefined],
    ['localhost@rebound.example', undefined],
    ['host.docker.internal.evil.example', undefined],
    ['host.docker.internal:3000', 'https://evil.example'],
    ['localhost:3000', 'https://evil.example'],
    ['localhost:3000', 'http://localhost:4000'],
    ['localhost:3000', 'tauri://evil'],
    ['localhost:3000', 'null'],
  ])('Host %s with Origin %s: 403', async (host, origin) => {
    const headers = { host, ...(origin && { origin }) }
    for (const url of ['/documents', '/search?q=a', '/conversations']) {
      expect((await app.inject({ url, headers })).json()).toMatchObject({ status: 403, code: 'foreign_origin' })
    }
  })

  it('tells a client in a container which setting allows its host name', async () => {
    const { detail } = (
      await app.inject({ url: '/documents', headers: { host: 'gateway.docker.internal:3000' } })
    ).json()
    expect(detail).toContain('If the client runs in a container, set ALLOWED_HOSTS=host.docker.internal')
  })

  it.each([
    ['/metrics', { host: '172.18.0.5:3000' }, 200],
    ['/metrics', { host: 'rebound.example:3000' }, 403],
    ['/metrics', { host: '172.18.0.5:3000', origin: 'https://evil.example' }, 403],
    ['/metrics', { host: '172.18.0.5:3000', 'sec-fetch-site': 'cross-site' }, 403],
    ['/documents', { host: '172.18.0.5:3000' }, 403],
    ['/live', { host: '172.18.0.5:3000' }, 403],
  ])('requests to an IP address may read metrics and nothing else: %s %j', async (url, headers, status) => {
    expect((await app.inject({ url, headers })).statusCode).toBe(status)
  })

  it.each([
    ['text/plain', '{"title":"Planted","text":"by a page"}'],
    ['application/x-www-form-urlencoded', 'title=Planted&text=by+a+page'],
    [
      'multipart/form-data; boundary=b',
      '--b\r\ncontent-disposition: form-data; name="title"\r\n\r\nPlanted\r\n--b--\r\n',
    ],
  ])('a page of another site cannot create a document with %s, which needs no preflight', async (type, payload) => {
    const headers = { host: 'localhost:3000', 'content-type': type }
    const post = (more: object) =>
      app.inject({ method: 'POST', url: '/documents', headers: { ...headers, ...more }, payload })
    for (const more of [{ origin: 'https://evil.example' }, { origin: 'null' }, { 'sec-fetch-site': 'cross-site' }])
      expect((await post(more)).json()).toMatchObject({ status: 403, code: 'foreign_origin' })
    const { items } = (await app.inject({ url: '/documents', headers: { host: 'localhost' } })).json()
    expect(items).toEqual([])
  })

  it.each([
    ['cross-site', 403],
    ['same-site', 403],
    ['same-origin', 200],
    ['none', 200],
  ])('a browser request without Origin but with Sec-Fetch-Site %s: %i', async (site, status) => {
    const headers = { host: 'localhost:3000', 'sec-fetch-site': site }
    expect((await app.inject({ url: '/search?q=a', headers })).statusCode).toBe(status)
  })

  it('a preflight from another site allows nothing', async () => {
    const headers = { host: 'localhost', origin: 'https://evil.example', 'access-control-request-method': 'POST' }
    const preflight = await app.inject({ method: 'OPTIONS', url: '/documents', headers })
    expect(preflight.headers).not.toHaveProperty('access-control-allow-origin')
  })

  it('everything belongs to one local owner', async () => {
    const headers = { host: 'localhost' }
    await app.inject({ method: 'POST', url: '/documents', headers, payload: { title: 'Mine', text: 'All mine.' } })
    expect((await app.inject({ url: '/documents', headers })).json()).toMatchObject({ items: [{ title: 'Mine' }] })
  })
})
