import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { exportJWK, exportSPKI, generateKeyPair, type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose'
import { afterAll, afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { testApp } from '../testing.ts'

const audience = 'https://api.example'

/** Starts a server on a free port that records the requested URLs. */
async function listen(handle: RequestListener) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    handle(request, response)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  return { url, asked, close }
}

type Answer = { status?: number; headers?: Record<string, string>; body?: unknown }

/** Starts an OpenID Connect provider with one key per algorithm. `answers` overrides its response at a path. */
async function startIssuer(algorithms = ['RS256']) {
  const answers: Record<string, Answer> = {}
  const server = await listen(({ url = '' }, response) => {
    const { status = 200, headers = {}, body } = answers[url] ?? documents[url] ?? { status: 404 }
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  const issuer = server.url
  const createKeys = (alg: string) => generateKeyPair(alg, { extractable: true })
  const pairs = new Map<string, Awaited<ReturnType<typeof createKeys>>>()
  const keys: object[] = []
  const documents: Record<string, Answer> = {
    '/.well-known/openid-configuration': { body: { issuer, jwks_uri: `${issuer}/keys` } },
    '/keys': { body: { keys } },
  }
  /** Replaces all keys with new ones. */
  const rotate = async (...algorithms: string[]) => {
    keys.length = 0
    for (const alg of algorithms) {
      const pair = await createKeys(alg)
      pairs.set(alg, pair)
      keys.push({ ...(await exportJWK(pair.publicKey)), kid: `${alg} ${pairs.size} ${server.asked.length}`, alg })
    }
  }
  await rotate(...algorithms)
  const pairOf = (alg: string) => pairs.get(alg) ?? Promise.reject(new Error(`no key for ${alg}`))
  /** Returns a valid token with the given changes. */
  const sign = async (claims: JWTPayload = {}, header: Partial<JWTHeaderParameters> = {}) => {
    const { alg = 'RS256' } = header
    const kid = Object(keys.find((key) => Object(key).alg === alg)).kid
    const exp = Math.floor(Date.now() / 1000) + 300
    const payload = { iss: issuer, aud: audience, sub: 'ada', exp, ...claims }
    return new SignJWT(payload).setProtectedHeader({ kid, ...header, alg }).sign((await pairOf(alg)).privateKey)
  }
  const readPublicKey = async () => exportSPKI((await pairOf('RS256')).publicKey)
  return { ...server, issuer, answers, rotate, sign, readPublicKey }
}

async function startApp(issuer: string, settings: Record<string, string> = {}) {
  const claims = { JWT_ORGANIZATION_CLAIM: 'org', JWT_LIBRARIAN_CLAIM: 'roles=librarian' }
  const environment = { JWT_ISSUER: issuer, JWT_AUDIENCE: audience, ...claims, ...settings }
  const testing = await testApp({ environment })
  const ask = (token: string, url = '/documents') =>
    testing.app.inject({ url, headers: { authorization: `Bearer ${token}` } })
  return { ...testing, ask }
}

/** Starts an issuer and an API for one test. */
async function startBoth() {
  const issuer = await startIssuer()
  onTestFinished(issuer.close)
  const api = await startApp(issuer.issuer)
  onTestFinished(api.close)
  return { issuer, api }
}

const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
const seconds = () => Math.floor(Date.now() / 1000)

afterEach(() => void vi.useRealTimers())

describe('a token of the issuer', async () => {
  const { sign, issuer, asked, readPublicKey, close } = await startIssuer(['RS256', 'ES256', 'EdDSA'])
  const api = await startApp(issuer)
  const attacker = await startIssuer()
  afterAll(async () => {
    await api.close()
    for (const end of [close, attacker.close]) end()
  })

  it.each(['RS256', 'ES256', 'EdDSA'])('signed with %s is accepted', async (alg) => {
    expect((await api.ask(await sign({}, { alg }))).statusCode).toBe(200)
  })

  it('gives access to the data of its subject only, and always to the same owner', async () => {
    const headers = { authorization: `Bearer ${await sign({ sub: 'ada' })}` }
    const payload = { title: 'Diary', text: 'Dear diary.' }
    await api.app.inject({ method: 'POST', url: '/documents', headers, payload })
    const read = async (token: string) => (await api.ask(token)).json().items
    expect(await read(await sign({ sub: 'ada' }))).toMatchObject([{ title: 'Diary' }])
    expect(await read(await sign({ sub: 'bob' }))).toEqual([])
    const owner = await api.store.owners.ensure(`${issuer}#ada`)
    expect(await api.store.documents.list(owner, 9)).toMatchObject([{ title: 'Diary' }])
  })

  it('names an organization, and a librarian of it, from one request to the next', async () => {
    const payload = { title: 'Handbook', text: 'For all.', shared: true }
    const share = async (claims: JWTPayload) => {
      const headers = { authorization: `Bearer ${await sign({ sub: 'carol', ...claims })}` }
      return (await api.app.inject({ method: 'POST', url: '/documents', headers, payload })).json().code
    }
    expect(await share({ roles: ['librarian'] })).toBe('no_organization')
    for (const roles of [undefined, 'reader', ['reader'], { librarian: true }])
      expect(await share({ org: 'acme', roles })).toBe('not_librarian')
    for (const roles of ['librarian', ['reader', 'librarian']])
      expect(await share({ org: 'acme', roles })).toBeUndefined()
    const list = async (org?: unknown) => (await api.ask(await sign({ sub: 'dan', org }))).json().items?.length
    expect(await list('acme')).toBe(1)
    for (const none of ['globex', undefined, null, '']) expect(await list(none)).toBe(0)
    for (const wrong of [7, { name: 'acme' }, ['acme'], 'a'.repeat(256)])
      expect((await api.ask(await sign({ sub: 'dan', org: wrong }))).statusCode).toBe(401)
  })

  it('may do everything, whatever its `scope` claim contains', async () => {
    const headers = { authorization: `Bearer ${await sign({ sub: 'erin', scope: 'read' })}` }
    const payload = { title: 'Diary', text: 'Dear diary.' }
    expect((await api.app.inject({ method: 'POST', url: '/documents', headers, payload })).statusCode).toBe(202)
  })

  it('does not replace API keys', async () => {
    expect((await api.app.inject({ url: '/documents', headers: api.alice })).statusCode).toBe(200)
  })

  it('is accepted when clocks differ by some seconds', async () => {
    for (const claims of [{ exp: seconds() - 20 }, { nbf: seconds() + 20 }])
      expect((await api.ask(await sign(claims))).statusCode).toBe(200)
  })

  it('that has expired: 401 with code token_expired', async () => {
    const response = await api.ask(await sign({ exp: seconds() - 60 }))
    expect(response.json()).toMatchObject({ status: 401, code: 'token_expired' })
    expect(response.headers['www-authenticate']).toBe('Bearer')
  })

  const unsigned = async (header: object) =>
    `${encode(header)}.${encode({ iss: issuer, aud: audience, sub: 'ada', exp: seconds() + 300 })}`
  const hostile: Record<string, () => Promise<string>> = {
    'that never expires': () => sign({ exp: undefined }),
    'that is not valid yet': () => sign({ nbf: seconds() + 60 }),
    'for another audience': () => sign({ aud: 'https://other.example' }),
    'without an audience': () => sign({ aud: undefined }),
    'from another issuer': () => sign({ iss: 'https://other.example' }),
    'from an issuer that differs by a slash': () => sign({ iss: `${issuer}/` }),
    'without a subject': () => sign({ sub: undefined }),
    'with an empty subject': () => sign({ sub: '' }),
    'with a subject that Postgres cannot store': () => sign({ sub: 'a\u0000b' }),
    'with a subject that is too long': () => sign({ sub: 'a'.repeat(256) }),
    'with a key unknown to the issuer': () => sign({}, { kid: 'unknown' }),
    'signed by another party': () => attacker.sign({ iss: issuer }, { kid: 'RS256 1 0' }),
    'with a key URL in its header (jku, x5u)': () =>
      attacker.sign({ iss: issuer }, { jku: `${attacker.url}/keys`, x5u: `${attacker.url}/keys` }),
    'with a key in its header (jwk)': async () =>
      attacker.sign({ iss: issuer }, { jwk: await exportJWK((await generateKeyPair('RS256')).publicKey) }),
    'with alg none': async () => `${await unsigned({ alg: 'none' })}.`,
    'with alg none and a signature': async () => `${await unsigned({ alg: 'none' })}.AAAA`,
    'with HS256 and the public key as the secret': async () => {
      const text = await unsigned({ alg: 'HS256', kid: 'RS256 1 0' })
      return `${text}.${createHmac('sha256', await readPublicKey())
        .update(text)
        .digest('base64url')}`
    },
    'with a modified payload': async () => {
      const [header, , signature] = (await sign()).split('.')
      return `${header}.${encode({ iss: issuer, aud: audience, sub: 'bob', exp: seconds() + 300 })}.${signature}`
    },
    'that is not JSON': async () => 'a.b.c',
  }
  it.each(Object.entries(hostile))('%s: 401', async (_, forge) => {
    const response = await api.ask(await forge())
    expect(response.json()).toMatchObject({ status: 401, code: 'unauthorized' })
    expect(response.headers['www-authenticate']).toBe('Bearer')
  })

  it('led to one fetch of the keys for all tokens above, and to none from other URLs', () => {
    expect(asked).toEqual(['/.well-known/openid-configuration', '/keys'])
    expect(attacker.asked).toEqual([])
  })
})

it('keys are read from JWT_JWKS_URL, if it is set', async () => {
  const { issuer, asked, sign, answers, close } = await startIssuer()
  onTestFinished(close)
  answers['/.well-known/openid-configuration'] = { status: 404 }
  const api = await startApp(issuer, { JWT_JWKS_URL: `${issuer}/keys` })
  onTestFinished(api.close)
  expect((await api.ask(await sign())).statusCode).toBe(200)
  expect((await api.ask(await sign({ iss: 'https://other.example' }))).statusCode).toBe(401)
  expect(asked).toEqual(['/keys'])
})

it('keys are discovered with the first token, once for all concurrent requests', async () => {
  const { issuer, api } = await startBoth()
  expect(issuer.asked).toEqual([])
  const token = await issuer.sign()
  const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await api.ask(token)).statusCode))
  expect(new Set(statuses)).toEqual(new Set([200]))
  expect(issuer.asked).toEqual(['/.well-known/openid-configuration', '/keys'])
})

it('a rotated key is fetched 30 s after the last fetch, and the old one is rejected from then on', async () => {
  const { issuer, api } = await startBoth()
  const old = await issuer.sign()
  expect((await api.ask(old)).statusCode).toBe(200)
  await issuer.rotate('RS256')
  expect((await api.ask(await issuer.sign())).statusCode).toBe(401)
  expect(issuer.asked).toHaveLength(2)

  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 31_000 })
  expect((await api.ask(await issuer.sign())).statusCode).toBe(200)
  expect((await api.ask(old)).statusCode).toBe(401)
  expect(issuer.asked).toHaveLength(3)
})

describe('503 with Retry-After while the issuer', () => {
  const broken: Record<string, Record<string, Answer>> = {
    'fails to return its configuration': { '/.well-known/openid-configuration': { status: 500 } },
    'returns the configuration of another issuer': {
      '/.well-known/openid-configuration': {
        body: { issuer: 'https://other.example', jwks_uri: 'http://127.0.0.1:9' },
      },
    },
    'returns invalid JSON': { '/.well-known/openid-configuration': { body: '<html>' } },
    redirects: {
      '/.well-known/openid-configuration': { status: 302, headers: { location: '/keys' } },
    },
    'fails to return its keys': { '/keys': { status: 500 } },
    'returns invalid keys': { '/keys': { body: { keys: 'none' } } },
    'redirects the request for its keys': { '/keys': { status: 302, headers: { location: '/elsewhere' } } },
  }
  it.each(Object.entries(broken))(
    '%s; it is called again after 5 s, even if the clock is stepped back',
    async (_, answers) => {
      const { issuer, api } = await startBoth()
      const token = await issuer.sign()
      Object.assign(issuer.answers, answers)
      for (const _ of [1, 2]) {
        const response = await api.ask(token)
        expect(response.json()).toMatchObject({ status: 503, code: 'issuer_unavailable' })
        expect(response.headers['retry-after']).toBe('5')
      }
      const asked = Object.keys(answers)[0] === '/keys' ? 2 : 1
      expect(issuer.asked).toHaveLength(asked)
      expect((await api.app.inject({ url: '/documents', headers: api.alice })).statusCode).toBe(200)

      for (const path of Object.keys(answers)) delete issuer.answers[path]
      const later = performance.now() + 5100
      const clock = vi.spyOn(performance, 'now').mockReturnValue(later)
      onTestFinished(() => clock.mockRestore())
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 })
      expect((await api.ask(token)).statusCode).toBe(200)
    },
  )

  it('is unreachable', async () => {
    const { issuer, api } = await startBoth()
    const token = await issuer.sign()
    issuer.close()
    expect((await api.ask(token)).json()).toMatchObject({ status: 503, code: 'issuer_unavailable' })
  })

  it('does not respond within three seconds', async () => {
    const silent = await listen(() => {})
    onTestFinished(silent.close)
    const api = await startApp(silent.url)
    onTestFinished(api.close)
    expect((await api.ask('a.b.c')).statusCode).toBe(401)
    expect(silent.asked).toEqual([])
    const { issuer } = await startBoth()
    expect((await api.ask(await issuer.sign())).json()).toMatchObject({ status: 503, code: 'issuer_unavailable' })
    expect(silent.asked).toHaveLength(1)
  })

  it('is unreachable, but tokens with known keys keep working for ten minutes', async () => {
    const { issuer, api } = await startBoth()
    expect((await api.ask(await issuer.sign())).statusCode).toBe(200)
    issuer.close()
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 9 * 60_000 })
    expect((await api.ask(await issuer.sign())).statusCode).toBe(200)
    expect((await api.ask(await issuer.sign({}, { kid: 'unknown' }))).statusCode).toBe(503)
    expect((await api.ask(await issuer.sign())).statusCode).toBe(200)
    vi.setSystemTime(Date.now() + 2 * 60_000)
    expect((await api.ask(await issuer.sign())).statusCode).toBe(503)
  })
})
