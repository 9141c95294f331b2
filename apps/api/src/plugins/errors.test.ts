import { request } from 'node:http'
import { connect } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { pino } from 'pino'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const { app, alice, listen, close } = await testApp()
const url = await listen()
afterAll(close)

const json = { ...alice, 'content-type': 'application/json' }
const problemType = 'application/problem+json; charset=utf-8'

describe('an invalid request gets problem+json with status, code and detail', () => {
  it.each([
    ['invalid JSON', '{"message": ', {}, 400, 'invalid_json', 'The request body is not valid JSON. Check its syntax.'],
    ['an empty body', '', {}, 400, 'invalid_json', 'The request body is empty. Send JSON.'],
    ['plain text', 'hello', { 'content-type': 'text/plain' }, 415, 'unsupported_media_type', 'Send JSON with'],
    [
      'a form',
      'a=b',
      { 'content-type': 'application/x-www-form-urlencoded' },
      415,
      'unsupported_media_type',
      'Send JSON',
    ],
    ['__proto__', '{"__proto__": {"admin": true}, "message": "a"}', {}, 400, 'invalid_json', 'not valid JSON'],
    [
      'constructor.prototype',
      '{"message": "a", "constructor": {"prototype": {}}}',
      {},
      400,
      'invalid_json',
      'not valid JSON',
    ],
    ['null', 'null', {}, 400, 'invalid_request', 'expected object'],
    ['a list', '[]', {}, 400, 'invalid_request', 'expected object'],
    [
      'half a megabyte of brackets',
      '['.repeat(250_000) + ']'.repeat(250_000),
      {},
      400,
      'invalid_json',
      'nested too deeply. Use at most 500 levels',
    ],
  ])('%s', async (_, payload, headers, status, code, sentence) => {
    const response = await app.inject({ method: 'POST', url: '/chat', headers: { ...json, ...headers }, payload })
    expect(response.headers['content-type']).toBe(problemType)
    expect(response.json()).toMatchObject({
      type: 'about:blank',
      status,
      code,
      detail: expect.stringContaining(sentence),
    })
    expect(response.json().requestId).toBe(response.headers['x-request-id'])
    expect(response.statusCode).toBe(status)
  })

  it('treats an empty body as absent on routes without a body schema', async () => {
    const response = await app.inject({ method: 'DELETE', url: '/conversations/none', headers: json, payload: '' })
    expect(response.json()).toMatchObject({ status: 404, code: 'conversation_not_found' })
  })

  it('an unknown route', async () => {
    const response = await app.inject({ url: '/no-such-route', headers: alice })
    expect(response.json()).toMatchObject({ title: 'Not Found', status: 404, code: 'route_not_found' })
  })

  it('an unknown route below /v1/, in OpenAI’s envelope', async () => {
    const response = await app.inject({ url: '/v1/no-such-route', headers: alice })
    expect(response.statusCode).toBe(404)
    expect(response.json()).toEqual({
      error: { message: expect.any(String), type: 'invalid_request_error', param: null, code: 'route_not_found' },
    })
    expect((await app.inject('/v1/models')).json()).toMatchObject({ error: { code: 'invalid_api_key' } })
  })

  it('a URL that cannot be decoded', async () => {
    const response = await app.inject({ url: '/documents/%zz', headers: alice })
    expect(response.headers).toMatchObject({ 'content-type': problemType, 'x-request-id': response.json().requestId })
    expect(response.json()).toMatchObject({ status: 400, code: 'invalid_url' })
  })

  it.each(['content-length', 'chunked'])('a body that is too large, %s', async (way) => {
    const body = Buffer.alloc(9 * 1024 * 1024, 'a')
    const length = way === 'chunked' ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.length }
    const { promise, resolve } = Promise.withResolvers<string>()
    const call = request(`${url}/chat`, { method: 'POST', headers: { ...json, ...length } })
    call.on('response', (response) => resolve(readText(response)))
    call.on('error', () => {}) // the server may close the connection before it has read the whole body
    call.end(body)
    expect(JSON.parse(await promise)).toMatchObject({ status: 413, code: 'body_too_large' })
  })

  it.each([
    ['bytes that are not HTTP', 'HELLO\r\n\r\n', 400, 'bad_request'],
    [
      'headers that are too large',
      `GET / HTTP/1.1\r\nhost: a\r\na: ${'a'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
  ])('%s', async (_, bytes, status, code) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.end(bytes)
    const [head = '', body = ''] = (await readText(socket)).split('\r\n\r\n')
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(head).toMatch(/x-request-id: /i)
    expect(JSON.parse(body)).toMatchObject({ status, code })
  })
})

it('an unexpected error reveals nothing but the request id', async () => {
  app.store.conversations.read = () => Promise.reject(new Error('select * from secrets'))
  const response = await app.inject({ url: '/conversations/any', headers: alice })
  expect(response.json()).toEqual({
    type: 'about:blank',
    title: 'Internal Server Error',
    status: 500,
    code: 'internal_error',
    detail: 'Internal server error. Include the request id when you report it.',
    requestId: response.headers['x-request-id'],
  })
})

describe('the request id', () => {
  it('is the caller’s if valid, otherwise a new one, on every response', async () => {
    const given = await app.inject({ url: '/health/live', headers: { 'x-request-id': 'trace-1.a' } })
    expect(given.headers['x-request-id']).toBe('trace-1.a')
    for (const id of ['a b', 'a'.repeat(65), 'ä', '']) {
      const { headers } = await app.inject({ url: '/no-such-route', headers: { 'x-request-id': id } })
      expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    }
  })
})

describe('the log', () => {
  it('contains one line with the request id per request, and no user data or keys', async () => {
    const lines: string[] = []
    const gate = await openTcpProxy()
    const logger = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
    const { alice, listen, close } = await testApp({ logger, gate })
    const url = await listen()
    const secret = 'pineapple'
    const ask = (path: string, init: RequestInit = {}) =>
      fetch(url + path, { ...init, headers: { ...json, ...alice } }).then(async (response) => {
        await response.text()
        return response.headers.get('x-request-id')
      })
    const post = (path: string, body: object) => ask(path, { method: 'POST', body: JSON.stringify(body) })
    const successes = [
      await post('/documents', { title: secret, text: `the ${secret} is in the safe` }),
      await post('/chat', { message: `where is the ${secret}?`, conversationId: 'a' }),
      await ask(`/search?q=${secret}`),
      await ask('/conversations/a'),
    ]
    const failures = [
      await post('/chat', { message: { secret } }),
      await ask('/chat', { method: 'POST', body: `{"${secret}"` }),
      await ask(`/${secret}`),
      await ask(`/search?q=${secret}&k=${secret}`),
    ]
    await gate.shut()
    failures.push(await post('/chat', { message: secret }), await post('/documents', { title: secret, text: secret }))
    await gate.open()
    await close()
    await gate.shut()

    for (const id of [...successes, ...failures]) {
      expect(lines.filter((line) => JSON.parse(line).reqId === id && line.includes('request ended'))).toHaveLength(1)
    }
    const log = lines.join('')
    expect(log).toContain('"status":503')
    expect(log).toContain('answer ended')
    for (const word of [secret, 'safe', 'sl_', alice.authorization.slice(-43), 'select ', 'insert ', 'sluice:']) {
      expect(log).not.toContain(word)
    }
  })
})
