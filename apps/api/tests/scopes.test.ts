import { randomUUID } from 'node:crypto'
import { createKey, type KeyScope, keyScopes } from '@repo/db'
import { afterAll, describe, expect, it } from 'vitest'
import { listScopes } from '../src/plugins/scopes.ts'
import { testApp } from '../src/testing.ts'
import { endsAccess, fillRequest, readOperations } from './testing-routes.ts'

// Calls every route with a key for each scope. A new route needs an entry only if it declares `scopes`.

/** The scopes that allow a key to call a route. The others follow from the method: `read` for GET, none for the rest. */
const allowed: Record<string, KeyScope[]> = {
  'POST /chat': ['chat'],
  'GET /chat/{id}/stream': ['chat', 'read'],
  'POST /chat/{id}/stop': ['chat'],
  'PATCH /conversations/{id}': ['chat'],
  'DELETE /conversations/{id}': ['chat'],
  'PUT /conversations/{id}/messages/{messageId}/feedback': ['chat'],
  'POST /documents': ['documents'],
  'PATCH /documents/{id}': ['documents'],
  'DELETE /documents/{id}': ['documents'],
  'GET /documents/{id}': ['read', 'documents'],
  'GET /models': ['read', 'chat'],
  'POST /v1/chat/completions': ['chat'],
  'POST /v1/responses': ['chat'],
  'POST /v1/embeddings': ['chat'],
  'GET /v1/models': ['read', 'chat'],
  'GET /v1/models/{id}': ['read', 'chat'],
  'POST /mcp': ['read'],
}
const path = endsAccess.replace('DELETE ', '')
const end = { method: 'DELETE' as const, path, hasId: false, places: [], query: {}, body: undefined }

const { app, store, alice, close } = await testApp()
afterAll(close)
const openapi = (await app.inject('/openapi.json')).json()
const operations = [...readOperations(openapi), end]
const createHeaders = async (scopes: KeyScope[]) => ({
  authorization: `Bearer ${await createKey(store, 'alice', { scopes })}`,
})
const [readHeaders, chatHeaders] = [await createHeaders(['read']), await createHeaders(['chat'])]
const keys = [
  { scopes: ['read'], headers: readHeaders },
  { scopes: ['chat'], headers: chatHeaders },
  { scopes: ['documents'], headers: await createHeaders(['documents']) },
  { scopes: keyScopes, headers: await createHeaders([...keyScopes]) },
  { scopes: [], headers: await createHeaders([]) },
]

describe.each(operations)('$method $path', (operation) => {
  const name = `${operation.method} ${operation.path}`
  const isPublic = operation.path.startsWith('/health/')
  const needed = allowed[name] ?? (operation.method === 'GET' ? ['read'] : [])
  const send = (headers: typeof alice) => {
    const request = fillRequest(operation, { id: randomUUID() })
    return app.inject({ ...request, headers: { ...request.headers, ...headers } })
  }

  it.each(keys)('with a key that has the scopes $scopes', async ({ scopes, headers }) => {
    const response = await send(headers)
    if (isPublic || needed.some((scope) => scopes.includes(scope))) {
      expect([401, 403, 500]).not.toContain(response.statusCode)
      return
    }
    const body = response.json()
    const { code, message } = operation.path.startsWith('/v1/') ? body.error : { ...body, message: body.detail }
    expect({ status: response.statusCode, code }).toEqual({ status: 403, code: 'scope_missing' })
    for (const scope of needed) expect(message).toContain(`\`${scope}\``)
    const challenge = `Bearer error="insufficient_scope"${needed[0] ? `, scope="${needed[0]}"` : ''}`
    expect(response.headers['www-authenticate']).toBe(challenge)
  })

  it('is described with the scopes that it needs', () => {
    const { security } = openapi.paths[operation.path][operation.method.toLowerCase()]
    const alternatives = needed.length > 0 ? needed.map((scope) => ({ key: [scope] })) : [{ key: [] }]
    expect(security).toEqual(isPublic ? [] : alternatives)
  })

  if (name === endsAccess) return // `me.test.ts` calls it
  it('with a key that has no scopes and may do everything', async () => {
    expect([401, 403, 500]).not.toContain((await send(alice)).statusCode)
  })
})

it.each([
  ['GET', ['read']],
  ['HEAD', ['read']],
  ...['POST', 'PUT', 'PATCH', 'DELETE', 'QUERY'].map((method) => [method, []] as const),
] as const)('a %s route that declares nothing is open to %j', (method, scopes) => {
  expect(listScopes(method)).toEqual(scopes)
})

it('the table names only routes that exist', () => {
  const routes = operations.map(({ method, path }) => `${method} ${path}`)
  expect(Object.keys(allowed).filter((route) => !routes.includes(route))).toEqual([])
})

it.each([
  ['HEAD', '/documents', 200, 403],
  ['OPTIONS', '/documents', 204, 204],
  ['GET', '/v1/models/vendor/unknown', 404, 404],
  ['GET', '/no-such-route', 404, 404],
  ['POST', '/search', 405, 405],
] as const)('%s %s: %i with `read`, %i with `chat`', async (method, url, ...expected) => {
  const statuses = [readHeaders, chatHeaders].map(
    async (headers) => (await app.inject({ method, url, headers })).statusCode,
  )
  expect(await Promise.all(statuses)).toEqual(expected)
})
