import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { closeLater, openSocket, parseResponses, readToEnd, sendBytes } from '@repo/testing/sockets'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { testApp } from '../src/testing.ts'

const { app, alice, listen, close } = await testApp()
const url = await listen()
afterAll(close)

const deadlineMs = 120_000
const head = (...lines: string[]) => Buffer.from([...lines, '', ''].join('\r\n'))
const post = (...lines: string[]) =>
  head('POST /chat HTTP/1.1', 'host: a', `authorization: ${alice.authorization}`, ...lines)
const megabyte = Buffer.alloc(1024 * 1024, 'a')

describe('a client that trickles', async () => {
  // The limits themselves are short here; how often Node looks, each 5 s, is set when a server is made.
  const impatient = await testApp()
  const impatientUrl = await impatient.listen()
  Object.assign(impatient.app.server, { headersTimeout: 300, requestTimeout: 600 })
  afterAll(impatient.close)

  it('is given 15 s for its headers, 430 s for a file of 50 MB, and 72 s to ask again', () => {
    const { headersTimeout, requestTimeout, keepAliveTimeout } = app.server
    expect({ headersTimeout, requestTimeout, keepAliveTimeout }).toEqual({
      headersTimeout: 15_000,
      requestTimeout: 430_000,
      keepAliveTimeout: 72_000,
    })
  })

  it.concurrent.each([
    ['headers', 'GET /documents HTTP/1.1\r\nhost: a\r\n'],
    ['a body', `${post('content-type: application/json', 'content-length: 100')}{`],
  ])('%s: 408, and the connection is closed', async (_, bytes) => {
    const socket = await openSocket(impatientUrl)
    socket.write(bytes.replace(alice.authorization, impatient.alice.authorization))
    const [response] = parseResponses(await readToEnd(socket, deadlineMs))
    expect(response?.status).toBe(408)
    expect(response?.headers['x-request-id']).toBeDefined()
    expect(JSON.parse(response?.body ?? '')).toMatchObject({ status: 408, code: 'request_timeout' })
  })
})

describe('a request that no HTTP client would send', () => {
  it.each([
    ['headers of 20 kB', head('GET / HTTP/1.1', 'host: a', `a: ${'a'.repeat(20_000)}`), 431, 'headers_too_large'],
    ['CONNECT', head('CONNECT other.example:443 HTTP/1.1', 'host: other.example'), 400, 'bad_request'],
    ['no host', head('GET /health/live HTTP/1.1', 'connection: close'), 400, 'bad_request'],
    ['two lengths', post('content-length: 1', 'content-length: 2'), 400, 'bad_request'],
    ['a length and chunks', post('content-length: 1', 'transfer-encoding: chunked'), 400, 'bad_request'],
  ])('%s', async (_, bytes, status, code) => {
    const [response] = await sendBytes(url, bytes, deadlineMs)
    expect(response?.headers).toMatchObject({
      'content-type': 'application/problem+json; charset=utf-8',
      'x-request-id': expect.any(String),
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    })
    expect(JSON.parse(response?.body ?? '')).toMatchObject({ status, code })
  })

  it('garbage after a request that was answered: 400, and no more is read', async () => {
    const first = head('GET /health/live HTTP/1.1', 'host: a')
    const socket = await openSocket(url)
    socket.write(first)
    await once(socket, 'readable')
    socket.write(Buffer.concat([Buffer.from('garbage\r\n\r\n'), first]))
    const responses = parseResponses(await readToEnd(socket, deadlineMs))
    expect(responses.map(({ status }) => status)).toEqual([200, 400])
  })

  it('garbage while an answer streams: the stream is cut, and nothing else is in it', async () => {
    const spoken = createScriptedModel()
    const { alice, listen, close } = await testApp({ llm: spoken.llm })
    onTestFinished(close)
    const socket = await openSocket(await listen())
    const body = '{"message":"Hello?"}'
    const lines = ['host: a', `authorization: ${alice.authorization}`, 'content-type: application/json']
    socket.write(head('POST /chat HTTP/1.1', ...lines, `content-length: ${body.length}`))
    socket.write(body)
    const answer = await spoken.takeAnswer()
    answer.say('half')
    await once(socket, 'readable')
    socket.write('garbage\r\n\r\n')
    const text = await readToEnd(socket, deadlineMs)
    answer.end()
    expect(text).toContain('HTTP/1.1 200')
    expect(text).not.toMatch(/HTTP\/1\.1 400|bad_request/)
  })
})

describe('Expect', () => {
  const ask = (expectation: string) => {
    const body = '{"message":"Hello?"}'
    const lines = ['content-type: application/json', `content-length: ${body.length}`, 'connection: close']
    return sendBytes(url, Buffer.concat([post(expectation, ...lines), Buffer.from(body)]), deadlineMs)
  }

  it('100-continue is granted', async () => {
    expect((await ask('expect: 100-continue')).map(({ status }) => status)).toEqual([100, 200])
  })

  it('anything else is passed over', async () => {
    expect((await ask('expect: miracles')).map(({ status }) => status)).toEqual([200])
  })
})

describe('a body that is larger than its route takes', () => {
  /** Sends it until the server hangs up. */
  const upload = async (megabytes: number, framing: string, wrap: (bytes: Buffer) => Buffer) => {
    const accepted = once(app.server, 'connection')
    const socket = closeLater(await openSocket(url))
    const [peer]: Socket[] = await accepted
    const answer = readToEnd(socket, deadlineMs)
    socket.write(post('content-type: application/json', framing))
    for (let sent = 0; sent < megabytes && socket.writable; sent += 1) {
      if (!socket.write(wrap(megabyte)))
        await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => {})
    }
    const [response] = parseResponses(await answer)
    expect(JSON.parse(response?.body ?? '')).toMatchObject({ status: 413, code: 'body_too_large' })
    return (peer?.bytesRead ?? Number.NaN) / megabyte.length
  }
  const asChunk = (bytes: Buffer) =>
    Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])

  it('is 413 by its length, before it is read', async () => {
    expect(await upload(9, `content-length: ${9 * megabyte.length}`, (bytes) => bytes)).toBeLessThan(2)
    expect(await upload(50, `content-length: ${50 * megabyte.length}`, (bytes) => bytes)).toBeLessThan(2)
  })

  it('is 413 when it comes in chunks, and hardly more is read of it than the 8 MB that the route takes', async () => {
    expect(await upload(50, 'transfer-encoding: chunked', asChunk)).toBeLessThan(16) // what was on its way counts too
  })
})
