import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { connect as dial } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect, createKey, createStore, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { startApi, startProgram } from '@repo/testing/processes'
import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { afterAll, expect, it } from 'vitest'
import { startIssuer } from './testing-issuer.ts'
import { fillRequest, type Operation, readOperations } from './testing-routes.ts'

// Runs real API and worker processes at the most verbose log level, with a model that repeats its input in its errors.
// Every secret contains a marker. Afterwards no marker may occur in any log of the API, the worker, PgBouncer or
// Postgres.

const isFull = process.env.SLUICE_FULL !== undefined
const secrets: Record<string, string> = {}
/** Returns a marker of letters and digits, which no encoding changes. */
const secret = (what: string): string => (secrets[what] ??= `x${randomBytes(8).toString('hex')}`)

/** Faults of the model, selected by name in the question. The error message repeats the whole request. */
const faults: Record<string, (response: ServerResponse, told: string) => void> = {
  refuse: (response, told) => response.writeHead(400).end(JSON.stringify({ error: { message: told } })),
  fail: (response, told) => response.writeHead(500).end(told),
  throttle: (response, told) => response.writeHead(429, { 'retry-after': '1' }).end(told),
  babble: (response, told) =>
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(`data: {${told}\n\n`),
  err: (response, told) =>
    response
      .writeHead(200, { 'content-type': 'text/event-stream' })
      .end(`data: ${JSON.stringify({ error: { message: told } })}\n\n`),
  vanish: (response, told) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(toChunk(told))
    response.socket?.destroySoon()
  },
  mutter: (response, told) => void response.socket?.end(`HTTP/1.1 ${told}\r\n\r\n`),
}
const toChunk = (content: string) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`

const model = createServer(async (request, response) => {
  if (request.method === 'GET') return response.writeHead(404).end() // no list of models
  const told = `${request.headers.authorization} ${await text(request)}`
  const fault = Object.keys(faults).find((name) => told.includes(`please ${name}`))
  if (fault) return faults[fault]?.(response, told)
  const { input, stream } = JSON.parse(told.slice(told.indexOf('{')))
  response.setHeader('content-type', stream ? 'text/event-stream' : 'application/json')
  if (input) {
    const data = [input].flat().map((_, index) => ({ index, embedding: [1, 0, 0, 0] }))
    return response.end(JSON.stringify({ object: 'list', model: 'embed', data }))
  }
  if (!stream) return response.end(JSON.stringify({ choices: [{ index: 0, message: { content: told } }] }))
  response.end(`${toChunk(told)}data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n`)
})

const issuer = await startIssuer('api')
await once(model.listen(0, '127.0.0.1'), 'listening')
const address = model.address()
const modelUrl = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`

const test = await createTestDatabase()
const direct = connect({ url: test.directDatabaseUrl, poolSize: 1 })
afterAll(async () => {
  model.close().closeAllConnections()
  await direct.close()
  await test.drop()
})
const key = await createKey(createStore(direct.db), 'alice')
secrets['an API key'] = key.slice(-43)
secrets['a wrong key'] = randomBytes(33).toString('base64url').slice(0, 43)

/** Returns the logs of all servers in this run's stack. */
function readServerLogs(): string {
  const folder = process.env.STACK_LOGS ?? ''
  const files = readdirSync(folder).filter((file) => /^(postgres|pgbouncer)\.log$/.test(file))
  expect(files).toHaveLength(2)
  return files.map((file) => readFileSync(join(folder, file), 'utf8')).join('')
}

/** Yields requests with a marker at each place in turn, and the document's examples elsewhere. */
function* tell(operation: Operation, what: string) {
  yield fillRequest(operation, { id: secret('an id') })
  for (const place of operation.places) {
    const value = `${secret(`${place.in} ${place.name}`)} ${what}`
    yield fillRequest(operation, { id: secret('an id'), place, value })
  }
}

it.for(isFull ? [1, 2] : [1])(
  'no log contains a secret after successful and failed requests, in %i process',
  async (processes, { annotate }) => {
    const gate = await openTcpProxy()
    const databaseUrl = new URL(test.databaseUrl)
    databaseUrl.host = gate.host
    const environment = {
      DATABASE_URL: databaseUrl.href,
      LOG_LEVEL: 'trace',
      AUTH: 'required',
      WEB_CONCURRENCY: `${processes}`,
      OPENAI_BASE_URL: `${modelUrl}/v1`,
      OPENAI_API_KEY: secret('the model’s key'),
      CHAT_MODEL: 'chat',
      EMBEDDING_MODEL: 'embed',
      SYSTEM_PROMPT: secret('the system prompt'),
      ...issuer.environment,
      OWNER_REQUESTS_PER_MINUTE: '1000000',
      OWNER_STREAMS: '1000',
      CORS_ORIGINS: 'https://page.example',
    }
    const api = await startApi(environment)
    const worker = startProgram('apps/worker/dist/worker.js', environment)
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const statuses = new Map<number, number>()
    const send = async (path: string, init: RequestInit = {}) => {
      const response = await fetch(`${api.url}${path}`, { ...init, headers: { ...headers, ...Object(init.headers) } })
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
      return response.text().catch(() => '') // some are cut off
    }
    const post = (path: string, body: unknown) => send(path, { method: 'POST', body: JSON.stringify(body) })
    const operations = readOperations(JSON.parse(await send('/openapi.json')))
    const walk = async (what: string, authorization = headers.authorization) => {
      for (const operation of operations) {
        for (const { url, query, payload, ...request } of tell(operation, what)) {
          const body = payload && { ...payload, model: /embed/.test(url) ? 'embed' : 'chat' }
          const given = { ...request.headers, authorization }
          await send(`${url}?${new URLSearchParams(query)}`, {
            ...request,
            headers: given,
            ...(body && { body: JSON.stringify(body) }),
          })
        }
      }
    }
    const converse = (message: string, more: object = {}) =>
      Promise.all([
        post('/chat', { message: `${secret('a question')} ${message}`, ...more }),
        ...[true, false].map((stream) =>
          post('/v1/chat/completions', {
            model: 'chat',
            stream,
            messages: [{ role: 'user', content: `${secret('a prompt')} ${message}` }],
          }),
        ),
        post('/documents', { title: `${secret('a title')} ${message}`, text: `${secret('a document')} ${message}` }),
        send(`/search?q=${secret('a search')}%20${encodeURIComponent(message)}`),
        post('/v1/embeddings', { model: 'embed', input: `${secret('a text to embed')} ${message}` }),
      ])

    await walk('well')
    await converse('well', { conversationId: 'a-conversation' })
    const [token = '', foreign = ''] = [
      await issuer.sign(secret('a subject')),
      await issuer.sign(secret('a foreign subject'), { aud: 'other' }),
    ]
    for (const given of [token, foreign]) {
      for (const [index, part] of given.split('.').entries())
        if (index > 0) secrets[`part ${index} of the token ${given.slice(-8)}`] = part
      await walk('by token', `Bearer ${given}`)
    }
    await walk('by nobody', `Bearer sl_${'0'.repeat(16)}_${secrets['a wrong key']}`)
    for (const fault of Object.keys(faults)) await converse(`please ${fault}`)

    // Requests that are malformed or too large.
    await send('/chat', { method: 'POST', body: `{"message": ${secret('broken JSON')}` })
    await send('/chat', { method: 'POST', body: secret('another type'), headers: { 'content-type': 'text/plain' } })
    await post('/chat', { message: secret('too long').repeat(3000) })
    await post('/documents', { title: 'a', text: secret('much too long').repeat(600_000) })
    await send(`/${secret('a route that is none')}/%E0%A4%A`)
    await send('/documents', {
      headers: { 'x-request-id': `${secret('a request id')} !`, origin: `https://${secret('an origin')}.example` },
    })
    for (const bytes of [
      `GET /${secret('no HTTP')} HTTP/9.9\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${secret('a header').repeat(2000)}\r\n\r\n`,
    ]) {
      const socket = dial(Number(new URL(api.url).port), '127.0.0.1').end(bytes)
      socket.on('error', () => {}) // a reset: the server disconnected before reading everything
      await new Promise((resolve) => socket.resume().once('close', resolve))
    }

    // Errors that Postgres reports with values: a duplicate message, a violated constraint, a missing table.
    const message = { id: secret('a message id'), role: 'user', parts: [{ type: 'text', text: secret('a message') }] }
    for (const _ of [1, 2]) await post('/chat', { id: 'twice', messages: [message] })
    await direct.db.execute(sql`alter table documents add constraint picky check (title not like '%please break%')`)
    await converse('please break')
    await direct.db.execute(sql`alter table documents drop constraint picky`)
    await direct.db.execute(sql`alter table messages rename to gone`)
    await converse('while a table is gone')
    await direct.db.execute(sql`alter table gone rename to messages`)
    for (const line of ['job ended', 'job failed']) await worker.findLog(({ msg }) => msg === line)
    await gate.shut()
    await converse('while the database is away')
    await gate.open()
    api.child.kill('SIGTERM')
    worker.child.kill('SIGTERM')
    await Promise.all([api.ended, worker.ended])
    await gate.shut()

    const routes = new Set(
      api.logs().flatMap(({ msg, method, route }) => (msg === 'request ended' ? `${method} ${route}` : [])),
    )
    const all = operations.map(({ method, path }) => `${method} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`)
    expect(all.filter((route) => !routes.has(route))).toEqual([])
    expect([...statuses.keys()].toSorted()).toEqual(
      expect.arrayContaining([200, 202, 204, 400, 401, 404, 409, 413, 415, 500, 502, 503]),
    )
    const log = api.written.out + api.written.err + worker.written.out + worker.written.err + readServerLogs()
    const requests = statuses.values().reduce((sum, count) => sum + count, 0)
    await annotate(`${requests} requests, ${Object.keys(secrets).length} secrets, ${log.length} characters of logs`)
    expect(log).toContain('picky') // Postgres' own log is included
    expect(Object.keys(secrets).length).toBeGreaterThan(30)
    expect(
      Object.entries(secrets)
        .filter(([, word]) => log.includes(word))
        .map(([what]) => what),
    ).toEqual([])
  },
)
