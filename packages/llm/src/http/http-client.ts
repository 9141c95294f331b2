import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import { urlToHttpOptions } from 'node:url'
import { LlmError, type LlmErrorCode } from '../llm.ts'
import type { Deadlines, HttpAnswer, HttpCall } from './http-call.ts'
import { describeFailure, openAnswer, readErrorCode, startCall } from './http-call.ts'
import { writeJson } from './write-json.ts'

export type HttpClientOptions = Deadlines & {
  baseUrl: string
  apiKey?: string | undefined
  /** Headers of one call, asked for when it is made. */
  callHeaders?: (() => Record<string, string>) | undefined
}

export type HttpClient = {
  /** Resolves at the 2xx headers. Rejects with an `LlmError`, or with the signal's reason. */
  post: (path: string, body: unknown, signal?: AbortSignal) => Promise<HttpAnswer>
  /** Closes idle connections; calls under way are left alone. */
  close: () => void
}

/**
 * All sockets read into one buffer, of which `node:http` copies what it keeps: with a new one of 64 KiB for each read, to read
 * and decode a token cost 18 to 22 % more.
 */
const onread = {
  buffer: Buffer.allocUnsafeSlow(64 * 1024), // as much as Node reads at once
  callback(this: Socket, length: number, buffer: Uint8Array): boolean {
    this.emit('data', buffer.subarray(0, length))
    return true // go on reading
  },
}

/**
 * JSON to one vendor over `node:http` with keep-alive: `fetch` costs 1.5 to 1.7 times the CPU a token.
 * A request that met a connection which the server had closed already is sent again, once; nothing else is.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const url = new URL(options.baseUrl)
  const { protocol, hostname, port, auth, path } = urlToHttpOptions(url)
  const root = (path ?? '').replace(/\/+$/, '')
  const transport = protocol === 'https:' ? https : http
  const agentOptions = { keepAlive: true, onread } // of the sockets' options Node's types know a few
  const keepAlive = new transport.Agent(agentOptions)
  const credentials = options.apiKey
    ? `Bearer ${options.apiKey}`
    : auth && `Basic ${Buffer.from(auth).toString('base64')}`
  // As a list: an object would become a list of Node's own first, at 15 µs a call.
  const headers = [
    ...['host', url.host, 'content-type', 'application/json', 'user-agent', 'sluice'],
    ...(credentials ? ['authorization', credentials] : []),
  ]

  const send = (
    call: HttpCall,
    path: string,
    payload: Buffer[],
    agent: http.Agent | false = keepAlive,
  ): Promise<http.IncomingMessage> => {
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>()
    const length = ['content-length', String(payload.reduce((sum, { length }) => sum + length, 0))]
    const allHeaders = [...headers, ...length, ...Object.entries(options.callHeaders?.() ?? {}).flat()]
    const request = transport.request({ hostname, port, path: root + path, method: 'POST', headers: allHeaders, agent })
    let bytesBefore = 0
    let sent = payload
    request.on('socket', (socket) => {
      bytesBefore = socket.bytesRead
    })
    request.on('response', (response) => {
      sent = [] // a prompt is a good part of what a stream would hold in memory to its end
      resolve(response)
    })
    request.on('error', (error) => {
      const isUnanswered = request.reusedSocket && request.socket?.bytesRead === bytesBefore
      if (isUnanswered && isReset(error) && !call.failure) resolve(send(call, path, sent, false))
      else reject(call.fail(describeFailure(error)))
    })
    request.on('close', () => reject())
    for (const piece of payload) request.write(piece)
    request.end()
    call.request = request
    return promise
  }

  return {
    post: async (path, body, signal) => {
      signal?.throwIfAborted()
      const call = startCall(options, signal)
      try {
        const response = await send(call, path, await writePayload(call, body))
        assertAccepted(response)
        return openAnswer(response, call)
      } catch (error) {
        throw call.fail(error instanceof LlmError ? error : describeFailure(error))
      }
    },
    close: () => {
      for (const sockets of Object.values(keepAlive.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
    },
  }
}

/** Throws the call's failure when it was aborted meanwhile. */
async function writePayload(call: HttpCall, body: unknown): Promise<Buffer[]> {
  const payload = await writeJson(body)
  if (call.failure) throw call.failure.reason
  return payload
}

function assertAccepted({ statusCode: status = 0, headers }: http.IncomingMessage): void {
  if (status >= 200 && status < 300) return
  const retryAfterSeconds = readRetryAfter(headers['retry-after'])
  throw new LlmError(codeOf(status), `the model's server answered ${status}`, { status, retryAfterSeconds })
}

function codeOf(status: number): LlmErrorCode {
  if (status >= 401 && status <= 403) return 'model_unauthorized'
  if (status === 429) return 'model_rate_limited'
  if (status >= 500) return 'model_failed'
  return status >= 400 ? 'model_rejected' : 'model_protocol'
}

/** Seconds or an HTTP date (RFC 9110, 10.2.3) as seconds from now. */
function readRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const seconds = Number(value)
  const delay = Number.isNaN(seconds) ? Math.ceil((Date.parse(value) - Date.now()) / 1000) : seconds
  return Number.isFinite(delay) ? Math.max(0, delay) : undefined
}

function isReset(error: Error): boolean {
  return ['ECONNRESET', 'EPIPE'].includes(readErrorCode(error))
}
