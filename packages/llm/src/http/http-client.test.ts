import { getEventListeners } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import net, { type Socket } from 'node:net'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { beforeEach, describe, expect, it } from 'vitest'
import type { LlmErrorCode } from '../llm.ts'
import { startHttpServer, startTcpServer } from '../test-server.ts'
import { readBytes, readText } from './http-call.ts'
import { createHttpClient, type HttpClientOptions } from './http-client.ts'

// A self-signed certificate of localhost, model.example and 127.0.0.1, for tests only. It expires in 2126.
const readPem = (file: string) => readFileSync(new URL(`../../../testing/tls/${file}`, import.meta.url), 'utf8')
const certificate = { cert: readPem('certificate.crt'), key: readPem('key.txt') }

type Settings = Partial<HttpClientOptions>
const createClient = (baseUrl: string, settings: Settings = {}) =>
  createHttpClient({ baseUrl, apiKey: 'the-key', firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000, ...settings })

const isError = (code: LlmErrorCode, more = {}) => expect.objectContaining({ name: 'LlmError', code, ...more })
const ok = (body: string) => `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`

describe('a request', () => {
  it('is sent to a path below the base URL as JSON, with the key', async () => {
    const server = await startHttpServer((response, request) => {
      const { authorization, 'content-type': type } = request.headers
      response.end(JSON.stringify({ method: request.method, url: request.url, authorization, type }))
    })
    for (const baseUrl of [`${server.url}beta/openai/`, `${server.url}beta/openai`]) {
      expect(JSON.parse(await readText(await createClient(baseUrl).post('/chat/completions', { a: 1 })))).toEqual({
        method: 'POST',
        url: '/v1beta/openai/chat/completions',
        authorization: 'Bearer the-key',
        type: 'application/json',
      })
    }
    expect(server.requests).toEqual(['{"a":1}', '{"a":1}'])
  })

  it('keeps the query of the base URL after the path', async () => {
    const server = await startHttpServer((response, request) => response.end(request.url))
    for (const baseUrl of [`${server.url}?api-version=1&a=%20b`, `${server.url}/?api-version=1&a=%20b`])
      expect(await readText(await createClient(baseUrl).post('/chat', {}))).toBe('/v1/chat?api-version=1&a=%20b')
  })

  it('contains the name and password of its URL when there is no key', async () => {
    const server = await startHttpServer((response, request) => response.end(request.headers.authorization))
    const baseUrl = server.url.replace('://', '://me:p%40ss@')
    const client = createHttpClient({ baseUrl, firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000 })
    expect(await readText(await client.post('/', {}))).toBe(`Basic ${btoa('me:p@ss')}`)
  })

  it('contains U+FFFD for U+0000 and lone surrogates, and every other character unchanged', async () => {
    const server = await startHttpServer((response) => response.end())
    const content = 'a\0b\uD800c\uDC00d 🙂 \\u0000 \uFFFF'
    await readText(await createClient(server.url).post('/', { messages: [{ content }] }))
    const sent = { messages: [{ content: 'a\uFFFDb\uFFFDc\uFFFDd 🙂 \\u0000 \uFFFF' }] }
    expect(JSON.parse(server.requests[0] ?? '')).toEqual(sent)
  })

  it('reuses the previous connection until the client closes idle ones', async () => {
    const server = await startHttpServer((response) => response.end('{}'))
    const client = createClient(server.url)
    for (let count = 0; count < 3; count += 1) {
      await readText(await client.post('/', {}))
    }
    expect(server.sockets.length).toBe(1)
    client.close()
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })

  it('keeps the bytes it has read while others are read', async () => {
    const server = await startHttpServer((response, request) => response.end(request.url?.repeat(1000)))
    const client = createClient(server.url)
    const answers = await Promise.all(['/a', '/b', '/c'].map((path) => client.post(path, {})))
    const texts = await Promise.all(answers.map((answer) => readText(answer)))
    expect(texts).toEqual(['/v1/a', '/v1/b', '/v1/c'].map((url) => url.repeat(1000)))
  })

  it('reuses the connection of a request whose answer was not read to its end', async () => {
    const server = await startHttpServer(async (response) => {
      for (let count = 0; count < 200; count += 1) {
        response.write('x'.repeat(4096))
        await setImmediate()
      }
      response.end()
    })
    const client = createClient(server.url)
    const isReused = async () => {
      const answer = await client.post('/', {})
      await setTimeout(50)
      answer.drain()
      return server.sockets.length < server.requests.length
    }
    await expect.poll(isReused).toBe(true) // its answer must end before the connection is free
  })

  it('in progress continues when the client closes', async () => {
    const { url } = await startHttpServer(async (response) => {
      response.writeHead(200).flushHeaders()
      await setTimeout(50)
      response.end('{}')
    })
    const client = createClient(url)
    const answer = await client.post('/', {})
    client.close()
    expect(await readText(answer)).toBe('{}')
  })
})

describe('with a proxy in the environment, a request', () => {
  beforeEach(() => {
    const before = getCACertificates('default')
    setDefaultCACertificates([...before, certificate.cert])
    return () => setDefaultCACertificates(before)
  })

  /** Starts a proxy that knows only one name, `model.example`, and notes what it is asked for. */
  async function startProxy(target: { url: string }) {
    const { port } = new URL(target.url)
    const proxy = await startHttpServer((response, request) => {
      seen.push(`${request.method} ${request.url}`, `${request.headers['proxy-authorization']}`)
      const { pathname } = new URL(request.url ?? '')
      const onward = http.request({ port, path: pathname, method: 'POST' }, (answer) => answer.pipe(response))
      onward.end('{}')
    })
    const seen: string[] = []
    proxy.server.on('connect', (request: http.IncomingMessage, client: Socket) => {
      seen.push(`CONNECT ${request.url}`, `${request.headers['proxy-authorization']}`)
      const onward = net.connect(Number(port), '127.0.0.1', () => client.write('HTTP/1.1 200 OK\r\n\r\n'))
      client.pipe(onward).pipe(client)
      for (const end of [client, onward])
        end.on('error', () => {}).on('close', () => [client, onward].map((other) => other.destroy()))
    })
    return { url: new URL(proxy.url).origin.replace('://', '://me:secret@'), seen }
  }
  const authorization = `Basic ${btoa('me:secret')}`

  it('is sent through a tunnel that streams, reuses its connection and ends with an abort', async () => {
    const server = await startHttpServer((response) => {
      response.write('first')
      if (server.requests.length === 1) response.end(' last')
    }, certificate)
    const proxy = await startProxy(server)
    const client = createClient('https://model.example/v1', { proxies: { https_proxy: proxy.url } })
    expect(await readText(await client.post('/chat', { a: 1 }))).toBe('first last')
    const abort = new AbortController()
    const answer = await client.post('/chat', { a: 2 }, abort.signal)
    expect(`${await readBytes(answer)}`).toBe('first')
    abort.abort()
    await expect.poll(() => server.sockets.every(({ destroyed }) => destroyed)).toBe(true)
    expect(server.requests).toEqual(['{"a":1}', '{"a":2}'])
    expect(proxy.seen).toEqual(['CONNECT model.example:443', authorization])
  })

  it('is sent to the proxy itself over plain HTTP', async () => {
    const server = await startHttpServer((response, request) => response.end(request.url))
    const proxy = await startProxy(server)
    const client = createClient('http://model.example/v1', { proxies: { http_proxy: proxy.url } })
    expect(await readText(await client.post('/chat', {}))).toBe('/v1/chat')
    expect(proxy.seen).toEqual(['POST http://model.example/v1/chat', authorization])
  })

  it('is sent directly to the hosts of NO_PROXY', async () => {
    const server = await startHttpServer((response) => response.end('direct'))
    const proxy = await startProxy(server)
    const proxies = { http_proxy: proxy.url, no_proxy: '127.0.0.1,.internal.example' }
    expect(await readText(await createClient(server.url, { proxies }).post('/', {}))).toBe('direct')
    const unknown = createClient('http://a.internal.example/v1', { proxies })
    await expect(unknown.post('/', {})).rejects.toEqual(isError('model_unreachable'))
    expect(proxy.seen).toEqual([])
  })

  it('reports an unreachable proxy without its password', async () => {
    const proxies = { https_proxy: 'http://me:secret@127.0.0.1:9' }
    const error = await createClient('https://model.example/v1', { proxies })
      .post('/', {})
      .catch((reason: unknown) => reason)
    expect(error).toEqual(isError('model_unreachable'))
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('secret')
  })
})

describe('a response that is not 2xx', () => {
  const statuses: [number, LlmErrorCode][] = [
    [301, 'model_protocol'],
    [400, 'model_rejected'],
    [401, 'model_unauthorized'],
    [402, 'model_unauthorized'],
    [403, 'model_unauthorized'],
    [404, 'model_rejected'],
    [413, 'context_length_exceeded'],
    [429, 'model_rate_limited'],
    [500, 'model_failed'],
    [503, 'model_failed'],
    [529, 'model_failed'],
  ]
  for (const [status, code] of statuses) {
    it(`${status} is ${code} after one request, and the error contains neither key, prompt nor body`, async () => {
      const server = await startHttpServer((response) => response.writeHead(status).end('the-body'))
      const error = await createClient(server.url)
        .post('/', 'the-prompt')
        .catch((reason: unknown) => reason)
      expect(error).toEqual(isError(code, { status, retryAfterSeconds: undefined }))
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toMatch(/the-(key|prompt|body)/)
      expect(server.requests.length).toBe(1)
    })
  }

  const answers: [string, number, string, LlmErrorCode, string][] = [
    ['a quota', 400, '{"error":{"code":"insufficient_quota"}}', 'model_rate_limited', 'responded with 400'],
    ["Gemini's wrong key", 400, '[{"error":{"message":"API key not valid."}}]', 'model_unauthorized', '400'],
    [
      'a long prompt',
      400,
      '{"error":"the input length exceeds the context length"}',
      'context_length_exceeded',
      'longer',
    ],
    ['a page that names it late', 500, '<h1>rate limit</h1>'.padStart(1_000_000), 'model_failed', 'responded with 500'],
  ]
  it.each(answers)('is classified by its text: %s', async (_, status, body, code, message) => {
    const server = await startHttpServer((response) => response.writeHead(status).end(body))
    const failure = isError(code, { status, message: expect.stringContaining(message) })
    await expect(createClient(server.url).post('/', {})).rejects.toEqual(failure)
  })

  it('is classified by its status if its text does not arrive, or not completely', async () => {
    const { url } = await startHttpServer((response) => response.writeHead(400).write('{"error":"the context size'))
    await expect(createClient(url).post('/', {})).rejects.toEqual(isError('context_length_exceeded', { status: 400 }))
    const silent = await startHttpServer((response) => response.writeHead(503).flushHeaders())
    await expect(createClient(silent.url).post('/', {})).rejects.toEqual(isError('model_failed', { status: 503 }))
  })

  it('can be aborted while its text is awaited', async () => {
    const abort = new AbortController()
    const { url } = await startHttpServer((response) => {
      response.writeHead(400).flushHeaders()
      response.write('{', () => abort.abort('left'))
    })
    await expect(createClient(url).post('/', {}, abort.signal)).rejects.toBe('left')
  })

  const inFuture = () => new Date(Date.now() + 60_000).toUTCString()
  const headers: [string, () => string, unknown][] = [
    ['seconds', () => '7', 7],
    ['an HTTP date', inFuture, expect.toSatisfy((seconds: number) => seconds > 30 && seconds <= 60)],
    ['a date in the past', () => 'Wed, 21 Oct 2015 07:28:00 GMT', 0],
    ['nonsense', () => 'soon', undefined],
  ]
  for (const [what, header, retryAfterSeconds] of headers) {
    it(`reads Retry-After as ${what}`, async () => {
      const { url } = await startHttpServer((response) => response.writeHead(429, { 'retry-after': header() }).end())
      await expect(createClient(url).post('/', {})).rejects.toEqual(
        isError('model_rate_limited', { retryAfterSeconds }),
      )
    })
  }
})

describe('a compressed response', () => {
  const body = '{"data":"é汉🙂"}'
  const encodings: [string, string, (text: string) => Buffer][] = [
    ['gzip', 'gzip', gzipSync],
    ['gzip, as it was called once', 'X-GZIP', gzipSync],
    ['brotli', 'br', brotliCompressSync],
    ['deflate', 'deflate', deflateSync],
    ['deflate without its header', 'deflate', deflateRawSync],
    ['no compression', 'identity', Buffer.from],
  ]
  it.each(encodings)('is decoded: %s', async (_, encoding, compress) => {
    const { url } = await startHttpServer((response) => {
      response.writeHead(200, { 'content-encoding': encoding }).end(compress(body))
    })
    const client = createClient(url)
    for (let count = 0; count < 2; count += 1) expect(await readText(await client.post('/', {}))).toBe(body)
  })

  it('is decoded if it is an error', async () => {
    const { url } = await startHttpServer((response) => {
      response.writeHead(400, { 'content-encoding': 'gzip' }).end(gzipSync('{"error":"quota exceeded"}'))
    })
    await expect(createClient(url).post('/', {})).rejects.toEqual(isError('model_rate_limited'))
  })

  it.each(['gzip', 'br', 'deflate', 'zstd'])('is model_protocol when it is not valid %s', async (encoding) => {
    const { url } = await startHttpServer((response) => {
      response.writeHead(200, { 'content-encoding': encoding }).end('the-body')
    })
    const read = async () => readText(await createClient(url).post('/', {}))
    await expect(read()).rejects.toEqual(
      isError('model_protocol', { message: expect.not.stringContaining('the-body') }),
    )
  })
})

describe('a connection that fails', () => {
  it('is model_unreachable when no server listens', async () => {
    await expect(createClient('http://127.0.0.1:9/v1').post('/', {})).rejects.toEqual(
      isError('model_unreachable', { message: expect.stringMatching(/ECONNREFUSED.*\. Check the base URL/) }),
    )
  })

  it('is model_protocol when the server does not use HTTP, without its bytes in the error', async () => {
    const { url } = await startTcpServer((socket) => socket.write('220 the-body ESMTP\r\n'))
    const error = await createClient(url)
      .post('/', {})
      .catch((reason: unknown) => reason)
    expect(error).toEqual(isError('model_protocol'))
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('the-body')
  })

  it('is model_unreachable when the server switches to another protocol', async () => {
    const upgrade = 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'
    const { url } = await startTcpServer((socket) => socket.write(upgrade))
    await expect(createClient(url).post('/', {})).rejects.toEqual(isError('model_unreachable'))
  })

  it('is retried once on a new connection when the server had closed the idle one', async () => {
    const server = await startTcpServer((socket, count) =>
      count === 2 ? socket.resetAndDestroy() : socket.write(ok('{}')),
    )
    const client = createClient(server.url)
    for (let count = 0; count < 2; count += 1) {
      expect(await readText(await client.post('/', {}))).toBe('{}')
    }
    expect(server.requests.length).toBe(3)
    expect(server.sockets.length).toBe(2)
  })

  it('is not tried a third time', async () => {
    const server = await startTcpServer((socket, count) =>
      count > 1 ? socket.resetAndDestroy() : socket.write(ok('{}')),
    )
    const client = createClient(server.url)
    await readText(await client.post('/', {}))
    await expect(client.post('/', {})).rejects.toEqual(isError('model_unreachable'))
    expect(server.requests.length).toBe(3)
  })

  it('is not retried when it was new', async () => {
    const server = await startTcpServer((socket) => socket.resetAndDestroy())
    await expect(createClient(server.url).post('/', {})).rejects.toEqual(isError('model_unreachable'))
    expect(server.requests.length).toBe(1)
  })

  it('is not retried after the first byte of the answer', async () => {
    const server = await startTcpServer((socket, count) => {
      if (count === 1) socket.write(ok('{}'))
      else socket.write('HTTP/1.1 2', () => socket.destroySoon())
    })
    const client = createClient(server.url)
    await readText(await client.post('/', {}))
    await expect(client.post('/', {})).rejects.toEqual(isError('model_unreachable'))
    expect(server.requests.length).toBe(2)
  })
})

describe('a deadline', () => {
  it('is model_timeout when no headers arrive, and the connection is closed', async () => {
    const server = await startHttpServer(() => {})
    await expect(createClient(server.url, { firstByteTimeoutMs: 1000 }).post('/', {})).rejects.toEqual(
      isError('model_timeout'),
    )
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })

  it('is model_timeout when a body is incomplete at the deadline', async () => {
    const { url } = await startHttpServer((response) => response.writeHead(200).write('{'))
    const answer = await createClient(url, { firstByteTimeoutMs: 1000 }).post('/', {})
    await expect(readText(answer)).rejects.toEqual(isError('model_timeout'))
  })

  it('closes an answer that is not read', async () => {
    const server = await startHttpServer((response) => response.writeHead(200).write('{'))
    await createClient(server.url, { firstByteTimeoutMs: 1000 }).post('/', {})
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })

  it('closes a connection that stays open after everything needed has arrived', async () => {
    const server = await startHttpServer((response) => response.writeHead(200).write('{'))
    const answer = await createClient(server.url).post('/', {})
    answer.drain()
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })
})

describe('an abort', () => {
  const reason = { because: 'the user stopped' }

  it('before the call sends nothing', async () => {
    const server = await startHttpServer((response) => response.end())
    await expect(createClient(server.url).post('/', {}, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(server.sockets.length).toBe(0)
  })

  it('while connecting rejects with its reason and sends nothing', async () => {
    const server = await startHttpServer((response) => response.end())
    const abort = new AbortController()
    const call = createClient(server.url).post('/', {}, abort.signal)
    abort.abort(reason)
    await expect(call).rejects.toBe(reason)
    await setTimeout(50)
    expect(server.requests.length).toBe(0)
  })

  it('while waiting for headers rejects with its reason and closes the connection', async () => {
    const abort = new AbortController()
    const server = await startHttpServer(() => abort.abort(reason))
    await expect(createClient(server.url).post('/', {}, abort.signal)).rejects.toBe(reason)
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
    expect(server.requests.length).toBe(1)
  })

  it('while waiting on a reused connection is not retried', async () => {
    const abort = new AbortController()
    const server = await startHttpServer((response) => {
      if (server.requests.length === 1) response.end('{}')
      else abort.abort(reason)
    })
    const client = createClient(server.url)
    await readText(await client.post('/', {}))
    await expect(client.post('/', {}, abort.signal)).rejects.toBe(reason)
    await setTimeout(50)
    expect(server.requests.length).toBe(2)
    expect(server.sockets.length).toBe(1)
  })

  it('midway through the body rejects with its reason and closes the connection', async () => {
    const abort = new AbortController()
    const server = await startHttpServer((response) => response.writeHead(200).write('{'))
    const answer = await createClient(server.url).post('/', {}, abort.signal)
    expect((await readBytes(answer))?.toString()).toBe('{')
    const reading = readBytes(answer)
    abort.abort(reason)
    await expect(reading).rejects.toBe(reason)
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })
})

describe('a thousand calls', () => {
  const fates: Record<string, (url: string, signal: AbortSignal) => Promise<unknown>> = {
    'that are read': async (url, signal) => readText(await createClient(url).post('/', {}, signal)),
    'that are abandoned': async (url, signal) => (await createClient(url).post('/', {}, signal)).destroy(),
    'that are refused': (url, signal) =>
      createClient(`${url}/refused`)
        .post('/', {}, signal)
        .catch(() => {}),
  }
  for (const [fate, run] of Object.entries(fates)) {
    it(`${fate} leave no listener on their signal and no timer`, async () => {
      const { url } = await startHttpServer((response, { url: path }) => {
        response.writeHead(path === '/v1/refused/' ? 500 : 200, { connection: 'close' }).end('{}')
      })
      const { signal } = new AbortController()
      const timers = countTimers()
      for (let count = 0; count < 1000; count += 50)
        await Promise.all(Array.from({ length: 50 }, () => run(url, signal)))
      expect(getEventListeners(signal, 'abort')).toEqual([])
      await expect.poll(countTimers).toBeLessThan(timers + 10)
    })
  }
})

const countTimers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
