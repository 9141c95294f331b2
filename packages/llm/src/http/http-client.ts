import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { urlToHttpOptions } from 'node:url'
import { LlmError } from '../llm.ts'
import { createVendorError } from '../vendor-error.ts'
import { decodeBody } from './decode-body.ts'
import type { Deadlines, HttpAnswer, HttpCall } from './http-call.ts'
import { describeFailure, openAnswer, readErrorCode, readErrorText, startCall } from './http-call.ts'
import { writeJson } from './write-json.ts'

export type HttpClientOptions = Deadlines & {
  baseUrl: string
  apiKey?: string | undefined
  /** Returns the headers of one call. Called once per call. */
  callHeaders?: (() => Record<string, string>) | undefined
  /** `http_proxy`, `https_proxy` and `no_proxy`. */
  proxies?: NodeJS.ProcessEnv | undefined
}

type Outgoing = { method: string; path: string; payload: Buffer[] }

export type HttpClient = {
  /** Resolves with the 2xx headers. Rejects with an `LlmError`, or with the signal's reason. */
  post: (path: string, body: unknown, signal?: AbortSignal) => Promise<HttpAnswer>
  /** The same without a body. */
  get: (path: string, signal?: AbortSignal) => Promise<HttpAnswer>
  /** Closes idle connections. Calls in progress continue. */
  close: () => void
}

/**
 * All sockets read into one buffer, and `node:http` copies what it keeps. A new 64 KiB buffer per read makes reading
 * and decoding a token 18 to 22% more expensive.
 */
const onread = {
  buffer: Buffer.allocUnsafeSlow(64 * 1024), // the size of Node's own reads
  callback(this: Socket, length: number, buffer: Uint8Array): boolean {
    this.emit('data', buffer.subarray(0, length))
    return true // continue reading
  },
}

/**
 * Creates a client for JSON requests to one vendor. It uses `node:http` with keep-alive, because `fetch` costs 1.5 to
 * 1.7 times the CPU per token. A request is retried once, and only if the server had already closed its idle
 * connection.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const url = new URL(options.baseUrl)
  const { protocol, hostname, port } = urlToHttpOptions(url)
  const root = url.pathname.replace(/\/+$/, '')
  const transport = protocol === 'https:' ? https : http
  const agentOptions = { keepAlive: true, onread, proxyEnv: options.proxies } // Node's types lack some socket options
  const keepAlive = new transport.Agent(agentOptions)
  const createHeaders = prepareHeaders(options, url)

  const send = (call: HttpCall, { method, path, payload }: Outgoing, agent = keepAlive) => {
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>()
    const target = { hostname, port, path: root + path + url.search }
    const request = transport.request({ ...target, method, headers: createHeaders(payload), agent })
    let bytesBefore = 0
    let sent = payload
    request.on('socket', (socket) => {
      bytesBefore = socket.bytesRead
    })
    request.on('response', (response) => {
      sent = [] // a prompt is a large part of what a stream would hold in memory until its end
      resolve(response)
    })
    request.on('error', (error) => {
      const isUnanswered = request.reusedSocket && request.socket?.bytesRead === bytesBefore
      const once = () => new transport.Agent({ ...agentOptions, keepAlive: false })
      if (isUnanswered && isReset(error) && !call.failure) resolve(send(call, { method, path, payload: sent }, once()))
      else reject(call.fail(describeFailure(error)))
    })
    request.on('close', () => reject())
    if (payload.length === 1) request.end(payload[0])
    else Readable.from(payload).pipe(request) // writing megabytes at once would block the event loop
    call.request = request
    return promise
  }
  const open = async (method: string, path: string, body: unknown, signal?: AbortSignal) => {
    signal?.throwIfAborted()
    const call = startCall(options, signal)
    try {
      const response = await send(call, { method, path, payload: await writePayload(call, body) })
      await assertAccepted(response)
      return openAnswer(response, await decodeBody(response), call)
    } catch (error) {
      throw call.fail(error instanceof LlmError ? error : describeFailure(error))
    }
  }
  return {
    get: (path, signal) => open('GET', path, undefined, signal),
    post: (path, body, signal) => open('POST', path, body, signal),
    close: () => {
      for (const sockets of Object.values(keepAlive.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
    },
  }
}

/**
 * Returns a function that returns the headers of a request. They are a list, because Node would convert an object to a
 * list first, which takes 15 µs per call. To a list it does not add the password of a proxy.
 */
function prepareHeaders({ apiKey, callHeaders, proxies }: HttpClientOptions, url: URL) {
  const { auth } = urlToHttpOptions(url)
  const credentials = apiKey ? `Bearer ${apiKey}` : auth && `Basic ${Buffer.from(auth).toString('base64')}`
  const same = [
    ['host', url.host],
    ['content-type', 'application/json'],
    ['user-agent', 'sluice'],
    ...(credentials ? [['authorization', credentials]] : []),
  ]
  const isProxied = url.protocol === 'http:' && Boolean(proxies?.http_proxy)
  return (payload: Buffer[]) => {
    const length = ['content-length', String(payload.reduce((sum, { length }) => sum + length, 0))]
    const pairs = [...same, length, ...Object.entries(callHeaders?.() ?? {})]
    return isProxied ? Object.fromEntries(pairs) : pairs.flat()
  }
}

/** Throws the call's failure if it was aborted in the meantime. */
async function writePayload(call: HttpCall, body: unknown): Promise<Buffer[]> {
  const payload = body === undefined ? [] : await writeJson(body)
  if (call.failure) throw call.failure.reason
  return payload
}

async function assertAccepted(response: http.IncomingMessage): Promise<void> {
  const { statusCode: status = 0, headers } = response
  if (status >= 200 && status < 300) return
  const retryAfterSeconds = readRetryAfter(headers['retry-after'])
  throw createVendorError(await readErrorText(response), { status, retryAfterSeconds })
}

/** Returns seconds or an HTTP date (RFC 9110, 10.2.3) as seconds from now. */
function readRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const seconds = Number(value)
  const delay = Number.isNaN(seconds) ? Math.ceil((Date.parse(value) - Date.now()) / 1000) : seconds
  return Number.isFinite(delay) ? Math.max(0, delay) : undefined
}

function isReset(error: Error): boolean {
  return ['ECONNRESET', 'EPIPE'].includes(readErrorCode(error))
}
