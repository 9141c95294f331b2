import http from 'node:http'
import https from 'node:https'
import { LlmError } from './llm.ts'

export type HttpClientOptions = {
  baseUrl: string
  apiKey?: string
  firstByteTimeoutMs: number
  idleTimeoutMs: number
}

/** A 2xx answer. Whoever gets one ends it with `drain` or `destroy`; until then its deadline runs. */
export type HttpAnswer = {
  contentType: string
  /** The next bytes, null at the end. Rejects with an `LlmError`, or with the reason of the signal that was aborted. */
  read: () => Promise<Buffer | null>
  /** Says that the first event is here: from now on the deadline is `idleTimeoutMs` for each wait for bytes. */
  markStarted: () => void
  /** Nothing more is needed: lets the last bytes go by, so that the connection serves the next call. */
  drain: () => void
  /** Closes the connection at once; does nothing after `drain`. */
  destroy: () => void
}

export type HttpClient = {
  /** Resolves at the 2xx headers. Rejects as `HttpAnswer.read` does. */
  post: (path: string, body: unknown, signal?: AbortSignal) => Promise<HttpAnswer>
  /** Closes idle connections; calls that run are left alone. */
  close: () => void
}

type Call = {
  /** Aborted by the caller's signal, by a deadline, or by `destroy`: the reason says which. */
  cancel: AbortController
  startIdleDeadline: (isWaiting: () => boolean) => void
  refreshDeadline: () => void
  release: () => void
}

/** Bytes may trail `[DONE]` by a packet; a connection that lingers longer is not worth keeping. */
const drainTimeoutMs = 1000

const maxChunks = 64

/** Holds 96 embeddings of 4,096 dimensions three times over. */
const maxBodyBytes = 32 * 1024 * 1024

/**
 * JSON to one vendor over `node:http` with keep-alive: `fetch` costs 1.5 to 1.7 times the CPU a token.
 * A call that died on an idle connection the server had closed already is sent again, once; nothing else is.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const baseUrl = options.baseUrl.replace(/\/+$/, '')
  const transport = baseUrl.startsWith('https:') ? https : http
  const keepAlive = new transport.Agent({ keepAlive: true })
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'sluice',
    ...(options.apiKey && { authorization: `Bearer ${options.apiKey}` }),
  }

  const send = (path: string, payload: string, signal: AbortSignal, agent: http.Agent | false = keepAlive) =>
    new Promise<http.IncomingMessage>((resolve, reject) => {
      const request = transport.request(baseUrl + path, { method: 'POST', headers, agent, signal })
      let bytesBefore = 0
      request.on('socket', (socket) => {
        bytesBefore = socket.bytesRead
      })
      request.on('response', resolve)
      request.on('error', (error) => {
        const isStale = request.reusedSocket && isReset(error) && request.socket?.bytesRead === bytesBefore
        if (isStale) resolve(send(path, payload, signal, false))
        else reject(error)
      })
      request.on('close', () => reject(new Error('closed without an answer')))
      request.end(payload)
    })

  return {
    post: async (path, body, signal) => {
      signal?.throwIfAborted()
      const call = startCall(options, signal)
      try {
        const response = await send(path, JSON.stringify(body, repairText), call.cancel.signal)
        assertAccepted(response)
        return openAnswer(response, call)
      } catch (error) {
        throw endCall(call, error)
      }
    },
    close: () => {
      for (const sockets of Object.values(keepAlive.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
    },
  }
}

/** Reads an answer to its end and closes it. Throws an `LlmError` (`model_protocol`) beyond 32 MiB. */
export async function readText(answer: HttpAnswer): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  try {
    for (let bytes = await answer.read(); bytes; bytes = await answer.read()) {
      parts.push(bytes)
      length += bytes.length
      if (length > maxBodyBytes) throw new LlmError('model_protocol', 'the model sent a body without end')
    }
    answer.drain()
    return Buffer.concat(parts).toString()
  } finally {
    answer.destroy()
  }
}

function startCall({ firstByteTimeoutMs, idleTimeoutMs }: HttpClientOptions, signal: AbortSignal | undefined): Call {
  const cancel = new AbortController()
  const onAbort = () => cancel.abort(signal?.reason)
  const onLate = () => cancel.abort(new LlmError('model_timeout', 'the model did not answer in time'))
  let deadline = setTimeout(onLate, firstByteTimeoutMs)
  const release = () => {
    clearTimeout(deadline)
    signal?.removeEventListener('abort', onAbort)
  }
  signal?.addEventListener('abort', onAbort)
  cancel.signal.addEventListener('abort', release)
  return {
    cancel,
    startIdleDeadline: (isWaiting) => {
      clearTimeout(deadline)
      // A reader that takes its time is no fault of the model's.
      deadline = setTimeout(() => isWaiting() && onLate(), idleTimeoutMs)
    },
    refreshDeadline: () => deadline.refresh(),
    release,
  }
}

/** Closes what the call left open; returns the error to throw. */
function endCall({ cancel }: Call, error: unknown): unknown {
  if (!cancel.signal.aborted) cancel.abort(error instanceof LlmError ? error : describeFailure(error))
  return cancel.signal.reason
}

function openAnswer(response: http.IncomingMessage, call: Call): HttpAnswer {
  const { signal } = call.cancel
  let chunks: Buffer[] = []
  let reader: PromiseWithResolvers<Buffer | null> | undefined
  let isStarted = false
  let isDrained = false

  const settle = () => {
    if (!reader) return
    if (signal.aborted) reader.reject(signal.reason)
    else if (chunks.length > 0) reader.resolve(takeChunks())
    else if (response.readableEnded) reader.resolve(null)
    else if (response.destroyed) reader.reject(endCall(call, response.errored))
    else return
    reader = undefined
  }
  const takeChunks = () => {
    const bytes = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)
    chunks = []
    response.resume()
    return bytes
  }
  response.on('data', (bytes: Buffer) => {
    if (isDrained) return
    // Nobody waits: what has come is enough until somebody does.
    if (chunks.push(bytes) > maxChunks) response.pause()
    settle()
  })
  for (const event of ['end', 'error', 'close']) response.on(event, settle)

  return {
    contentType: response.headers['content-type'] ?? '',
    read: () => {
      reader = Promise.withResolvers()
      const { promise } = reader
      if (isStarted) call.refreshDeadline()
      settle()
      return promise
    },
    markStarted: () => {
      if (isStarted) return
      isStarted = true
      call.startIdleDeadline(() => reader !== undefined)
    },
    drain: () => {
      if (isDrained) return
      isDrained = true
      call.release()
      response.resume()
      const late = setTimeout(() => response.destroy(), drainTimeoutMs).unref()
      response.on('close', () => clearTimeout(late))
    },
    destroy: () => {
      if (!isDrained) call.cancel.abort()
    },
  }
}

function assertAccepted({ statusCode = 0, headers }: http.IncomingMessage): void {
  if (statusCode >= 200 && statusCode < 300) return
  const retryAfterSeconds = readRetryAfter(headers['retry-after'])
  throw new LlmError(codeOf(statusCode), `the model's server answered ${statusCode}`, {
    status: statusCode,
    retryAfterSeconds,
  })
}

function codeOf(status: number) {
  if (status === 401 || status === 403) return 'model_unauthorized'
  if (status === 429) return 'model_rate_limited'
  if (status >= 500) return 'model_failed'
  return status >= 400 ? 'model_rejected' : 'model_protocol'
}

/** Seconds or an HTTP date, as in RFC 9110 10.2.3. */
function readRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const seconds = Number(value)
  const delay = Number.isNaN(seconds) ? Math.ceil((Date.parse(value) - Date.now()) / 1000) : seconds
  return Number.isFinite(delay) ? Math.max(0, delay) : undefined
}

/** Only the code is kept: a parser's error carries the vendor's bytes. */
function describeFailure(error: unknown): LlmError {
  const code = readErrorCode(error)
  if (code.startsWith('HPE_')) return new LlmError('model_protocol', `the model's server does not speak HTTP (${code})`)
  return new LlmError('model_unreachable', `the connection to the model failed (${code})`)
}

function isReset(error: Error): boolean {
  return ['ECONNRESET', 'EPIPE'].includes(readErrorCode(error))
}

function readErrorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}

/** Vendors, and Postgres behind us, refuse U+0000 and lone surrogates; both become U+FFFD on their way out. */
function repairText(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.toWellFormed().replaceAll('\0', '\uFFFD') : value
}
