import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { sendBytes } from '@repo/testing/sockets'
import { chunk, completion, sendChunks, sendJson } from '@repo/testing/upstream'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../src/testing.ts'
import { fillRequest, type Operation, readOperations } from './testing-routes.ts'

// What HTTP clients and proxies may send, tried on every route of openapi.json. New routes are covered automatically.

/** Answers each call with one word, streamed or whole. */
const model = createServer(async (request, response) => {
  if (request.method === 'GET') return response.writeHead(404).end() // no list of models
  const body = JSON.parse(await text(request))
  const answer = body.stream
    ? sendChunks(chunk({ content: 'Hi' }), chunk({}, 'stop'))
    : sendJson(completion({ content: 'Hi' }))
  answer(response)
})
await once(model.listen(0, '127.0.0.1'), 'listening')
const { port } = Object(model.address())

const { app, alice, listen, close } = await testApp({
  environment: {
    OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1`,
    CHAT_MODEL: 'offline',
    OWNER_REQUESTS_PER_MINUTE: '1000000',
  },
})
const url = await listen()
afterAll(async () => {
  await close()
  model.closeAllConnections()
  model.close()
})

const json = { ...alice, 'content-type': 'application/json' }
const description = (await app.inject('/openapi.json')).json()
const operations = readOperations(description)
const withBody = operations.filter(({ body }) => body)
const deadlineMs = 10_000

/** Sends an operation's example, with changes. */
async function send(
  operation: Operation,
  { path = (text: string) => text, query = {} as Record<string, string | string[]>, body = {}, headers = {} } = {},
) {
  const request = fillRequest(operation, { id: 'none' })
  const wholeBody = { ...Object(request.payload), ...body }
  const { conversationId: _, ...fresh } = wholeBody // else a conversation has a running answer
  return app.inject({
    method: operation.method,
    url: path(request.url),
    query: { ...request.query, ...query },
    headers: { ...alice, ...request.headers, ...headers },
    ...(operation.body && { payload: fresh }),
  })
}

const normal = new Map<Operation, number>()
for (const operation of operations) normal.set(operation, (await send(operation)).statusCode)

/** Returns the optional fields of a body that do not accept null by themselves. */
function listOptional({ path, method }: Operation): string[] {
  const { schema } = description.paths[path][method.toLowerCase()].requestBody.content['application/json']
  const required: string[] = schema.required ?? []
  return Object.keys(schema.properties).filter((name) => !required.includes(name) && name !== 'message')
}

describe.each(operations)('$method $path', (operation) => {
  it('works with a trailing slash', async () => {
    const response = await send(operation, { path: (path) => `${path}/` })
    expect(response.statusCode, response.body).toBe(normal.get(operation))
  })

  it('ignores unknown keys in the query and the body', async () => {
    const response = await send(operation, {
      query: { utm_source: ['mail', 'page'] },
      body: { unheardOf: { of: null } },
    })
    expect(response.statusCode, response.body).toBe(normal.get(operation))
  })

  it('ignores an Accept header that does not list its media type', async () => {
    for (const accept of ['application/json', '*/*', 'text/html;q=0.9', '']) {
      const response = await send(operation, { headers: { accept } })
      expect(response.statusCode, response.body).toBe(normal.get(operation))
    }
  })

  it('answers HEAD without a body, and OPTIONS with the allowed methods', async () => {
    const { url: path, query } = fillRequest(operation, { id: 'none' })
    const bytes = `HEAD ${path}?${new URLSearchParams(query)} HTTP/1.1\r\nhost: localhost\r\nauthorization: ${alice.authorization}\r\nconnection: close\r\n\r\n`
    const [head] = await sendBytes(url, Buffer.from(bytes), deadlineMs)
    expect(head?.body).toBe('')
    const isRead = operations.some((other) => other.path === operation.path && other.method === 'GET')
    if (operation.method === 'GET') expect(head?.status).toBe(normal.get(operation))
    else if (!isRead) expect(head?.status).toBe(405)
    const options = await app.inject({ method: 'OPTIONS', url: path, headers: alice })
    expect([options.statusCode, options.body]).toEqual([204, ''])
    const allowed = String(options.headers.allow).split(', ')
    expect(allowed).toEqual(expect.arrayContaining(['OPTIONS', operation.method, ...(isRead ? ['HEAD'] : [])]))
    expect(new Set(allowed).size).toBe(allowed.length)
  })

  it('answers another method with 405 and the allowed ones', async () => {
    const taken = operations.filter(({ path }) => path === operation.path).map(({ method }) => method)
    const other = (['PUT', 'PATCH', 'DELETE', 'POST'] as const).find((method) => !taken.includes(method))
    const response = await app.inject({
      method: other,
      url: fillRequest(operation, { id: 'none' }).url,
      headers: alice,
    })
    expect(response.statusCode).toBe(405)
    expect(response.body).toContain('"code":"method_not_allowed"')
    expect(String(response.headers.allow).split(', ')).toEqual(expect.arrayContaining(taken))
  })
})

const listQueries = ({ path, method }: Operation): string[] => {
  const { parameters = [] }: { parameters?: { name: string; in: string }[] } =
    description.paths[path][method.toLowerCase()]
  return parameters.flatMap(({ name, in: where }) => (where === 'query' ? [name] : []))
}

it.each(operations.filter((operation) => listQueries(operation).length > 0))(
  '$method $path rejects a repeated query parameter and names it',
  async (operation) => {
    for (const name of listQueries(operation)) {
      const request = fillRequest(operation, { id: 'none' })
      const query = new URLSearchParams([...Object.entries(request.query), [name, '1'], [name, '2']])
      const response = await app.inject({ method: operation.method, url: `${request.url}?${query}`, headers: alice })
      expect(response.json()).toMatchObject({ status: 400, code: 'invalid_request' })
      expect(response.json().detail).toContain(`/${name}: is repeated. Send it once.`)
    }
  },
)

describe.each(withBody)('the body of $method $path', (operation) => {
  const body = JSON.stringify(fillRequest(operation, {}).payload)
  const post = (payload: string | Buffer, headers: Record<string, string>) => {
    const { method, url: path } = fillRequest(operation, { id: 'none' })
    return app.inject({ method, url: path, headers: { ...json, ...headers }, payload })
  }

  it('may have null for each optional field, as if it were absent', async () => {
    for (const name of listOptional(operation)) {
      const absent = await send(operation, { body: { [name]: undefined } })
      const response = await send(operation, { body: { [name]: null } })
      expect(response.statusCode, `${name}: ${response.body}`).toBe(absent.statusCode)
    }
  })

  it('may have a byte order mark, and a charset that is UTF-8', async () => {
    const types = [
      'application/json; charset=utf-8',
      'application/json;charset="UTF-8"',
      'application/json; charset=utf8',
    ]
    for (const type of types) {
      const response = await post(`\ufeff${body}`, { 'content-type': type })
      expect(response.body).not.toMatch(/invalid_json|unsupported_media_type/)
      expect(response.statusCode).toBeLessThan(500)
    }
  })

  it('must be UTF-8 and not compressed', async () => {
    const latin = Buffer.from(body.replace('{', '{"a":"\xfc",'), 'latin1')
    for (const padding of [0, 100_000])
      expect((await post(Buffer.concat([latin, Buffer.alloc(padding, ' ')]), {})).body).toContain('not valid UTF-8')
    for (const charset of ['utf-16', 'iso-8859-1', '"latin1"']) {
      const response = await post(body, { 'content-type': `application/json; charset=${charset}` })
      expect([response.statusCode, response.body]).toEqual([415, expect.stringContaining('Send JSON as UTF-8.')])
    }
    const response = await post(body, { 'content-encoding': 'gzip' })
    expect([response.statusCode, response.body]).toEqual([415, expect.stringContaining('Send the body uncompressed.')])
  })

  it('may wait for 100 Continue', async () => {
    const { method, url: path } = fillRequest(operation, { id: 'none' })
    const head = [`${method} ${path} HTTP/1.1`, 'host: localhost', 'expect: 100-continue', 'connection: close']
    const fields = [...Object.entries(json), ['content-length', `${Buffer.byteLength(body)}`]]
    const lines = [...head, ...fields.map(([name, value]) => `${name}: ${value}`)]
    const responses = await sendBytes(url, Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`), deadlineMs)
    expect(responses.map(({ status }) => status)).toEqual([100, expect.any(Number)])
    expect(responses.at(-1)?.status).toBeLessThan(500)
  })
})

describe('null', () => {
  const parts = [{ type: 'text', text: 'When?' }]
  const ask = (payload: object) => app.inject({ method: 'POST', url: '/chat', headers: alice, payload })

  it('counts as absent in all optional fields at once, as strict clients send it', async () => {
    const nothing = { message: null, conversationId: null, trigger: null, messageId: null, model: null, filter: null }
    const response = await ask({
      ...nothing,
      documentIds: null,
      id: randomUUID(),
      messages: [{ id: 'm1', role: 'user', parts }],
    })
    expect([response.statusCode, response.body]).toEqual([200, expect.stringContaining('"delta":"Hi"')])
  })

  it('counts as absent in the parts of a message', async () => {
    const file = { type: 'file', mediaType: 'image/png', url: 'data:image/png;base64,iVBORw0KGgo=', filename: null }
    const response = await ask({ messages: [{ id: 'm2', role: 'user', parts: [...parts, file] }] })
    expect([response.statusCode, response.body]).toEqual([200, expect.stringContaining('"delta":"Hi"')])
  })

  it('is rejected in required fields and in metadata, where it would widen a filter', async () => {
    for (const body of [{ message: 'When?', filter: { team: null } }, { message: null }]) {
      const response = await ask(body)
      expect(response.json()).toMatchObject({ status: 400, code: 'invalid_request' })
    }
  })
})

describe('a text without visible characters', () => {
  it.each(['', ' \n\t', '\u00a0\u3000', '\u200b\u200d\ufeff', '\u00ad\u2060', '\u3164', '\u0007'])(
    '%j is rejected',
    async (blank) => {
      const bodies: [method: 'POST' | 'PATCH', url: string, payload: object][] = [
        ['POST', '/chat', { message: blank }],
        ['POST', '/chat', { messages: [{ id: 'm3', role: 'user', parts: [{ type: 'text', text: blank }] }] }],
        ['POST', '/documents', { title: blank, text: 'Text' }],
        ['POST', '/documents', { title: 'Title', text: blank }],
        ['PATCH', '/conversations/none', { title: blank }],
      ]
      for (const [method, path, payload] of bodies) {
        const response = await app.inject({ method, url: path, headers: alice, payload })
        expect(response.json()).toMatchObject({ status: 400, code: 'invalid_request' })
      }
      const search = await app.inject({ url: '/search', query: { q: blank }, headers: alice })
      expect(search.json()).toMatchObject({ status: 400, code: 'invalid_request' })
    },
  )
})

it.each(['/live', '/chat/finished/stream'])('HEAD of the event stream %s ends without events', async (path) => {
  const asked = { message: 'When?', conversationId: 'finished' }
  const { body } = await app.inject({ method: 'POST', url: '/chat', headers: alice, payload: asked })
  const messageId = /"messageId":"([^"]+)/.exec(body)?.[1]
  const lines = ['accept: text/event-stream', `last-event-id: ${messageId}.0`, `authorization: ${alice.authorization}`]
  const head = `HEAD ${path} HTTP/1.1\r\nhost: localhost\r\n${lines.join('\r\n')}\r\n\r\n`
  const next = 'GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'
  const responses = await sendBytes(url, Buffer.from(head + next), deadlineMs)
  expect(responses.map(({ status, body }) => [status, body])).toEqual([
    [200, ''],
    [200, '{"status":"ok"}'],
  ])
  expect(responses[0]?.headers['content-type']).toMatch('text/event-stream')
  await app.store.conversations.remove(await app.store.owners.ensure('alice'), 'finished')
})

it('public routes need no key with a trailing slash either', async () => {
  for (const path of ['/', '/health/live/', '/health/ready/', '/openapi.json/', '/docs/'])
    expect((await app.inject(path)).statusCode, path).toBeLessThan(400)
})
