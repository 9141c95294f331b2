import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { LlmError } from '../llm.ts'
import { decodeBody } from './decode-body.ts'

export type Deadlines = {
  /** From the start of the call to its first event, or to its end if the answer is not streamed. */
  firstByteTimeoutMs: number
  /** For each wait for bytes after the first event. */
  idleTimeoutMs: number
}

/** A 2xx response. The caller must end it with `drain` or `destroy`; until then its deadline runs. */
export type HttpAnswer = {
  /** Whether it is labelled as an event stream and has not arrived completely. */
  isStream: boolean
  /**
   * Waits for the next bytes, null at the end, and calls one of the two once. `onFailure` gets an `LlmError` or the
   * reason of the aborted signal. Callbacks avoid one more promise per token.
   */
  read: (onBytes: (bytes: Buffer | null) => void, onFailure: (reason: unknown) => void) => void
  /** Marks the first event as received. From now on the idle deadline applies. */
  markStarted: () => void
  /** Marks later bytes as unimportant, so that they are awaited only briefly. */
  markWhole: () => void
  /** Discards the last bytes, so that the connection can serve the next call. */
  drain: () => void
  /** Closes the connection at once. Does nothing after `drain`. */
  destroy: () => void
}

/** The state of one call: its deadline, its listener on the caller's signal and its request. */
export type HttpCall = {
  /** The current attempt, which a failure closes. */
  request: ClientRequest | undefined
  /** Why the call failed. */
  failure: { reason: unknown } | undefined
  deadline: NodeJS.Timeout
  idleTimeoutMs: number
  onLate: () => void
  /** Ends the call and closes its connection. Returns the first reason; later ones are ignored. */
  fail: (reason: unknown) => unknown
  /** Releases the timer and the signal listener. */
  release: () => void
}

/** Bytes may follow `[DONE]` in the next packet. A connection that stays open longer is not worth reusing. */
const drainTimeoutMs = 1000

/** The rest of an answer arrives with its last event or one packet later. Some servers send `stop` before the end. */
const lastEventsTimeoutMs = 5000

/** Read-ahead for a slow reader: two full socket reads, so that a fast reader is never paused. */
const maxBytesAhead = 128 * 1024

/** In UTF-16 units. An error names its reason at the beginning. */
const maxErrorLength = 64 * 1024

/** An error response arrives at once. A late body is not worth waiting for. */
const errorTimeoutMs = 1000

/** Three times 96 vectors with 4,096 dimensions. */
const maxBodyBytes = 32 * 1024 * 1024

export function startCall({ firstByteTimeoutMs, idleTimeoutMs }: Deadlines, signal: AbortSignal | undefined): HttpCall {
  const onAbort = () => call.fail(signal?.reason)
  const onLate = () => call.fail(new LlmError('model_timeout', 'the model did not answer in time'))
  const call: HttpCall = {
    request: undefined,
    failure: undefined,
    deadline: setTimeout(onLate, firstByteTimeoutMs),
    idleTimeoutMs,
    onLate,
    fail: (reason) => {
      call.failure ??= { reason }
      call.release()
      call.request?.destroy()
      return call.failure.reason
    },
    release: () => {
      clearTimeout(call.deadline)
      signal?.removeEventListener('abort', onAbort)
    },
  }
  signal?.addEventListener('abort', onAbort)
  return call
}

/** `body` is the decoded body of `response`. */
export function openAnswer(response: IncomingMessage, body: Readable, call: HttpCall): HttpAnswer {
  const reader = createReader(body, call)
  let isStarted = false
  let isDrained = false

  // Resetting a timer per token is expensive. A slow reader is not the model's fault.
  const watch = (ms: number) => {
    clearTimeout(call.deadline)
    call.deadline = setTimeout(() => {
      const leftMs = call.idleTimeoutMs - reader.waitedMs()
      if (leftMs > 0) watch(leftMs)
      else call.onLate()
    }, ms)
  }
  return {
    isStream: !response.complete && (response.headers['content-type'] ?? '').includes('event-stream'),
    read: reader.read,
    markStarted: () => {
      if (isStarted) return
      isStarted = true
      watch(call.idleTimeoutMs)
    },
    markWhole: () => {
      if (call.idleTimeoutMs <= lastEventsTimeoutMs) return
      call.idleTimeoutMs = lastEventsTimeoutMs
      watch(call.idleTimeoutMs)
    },
    drain: () => {
      if (isDrained) return
      isDrained = true
      call.release()
      reader.discard()
      if (response.complete) return
      const late = setTimeout(() => response.destroy(), drainTimeoutMs).unref()
      response.on('close', () => clearTimeout(late))
    },
    destroy: () => {
      if (!isDrained) call.fail(new LlmError('model_unreachable', 'the call was abandoned'))
    },
  }
}

/** Reads a response with at most one pending `read`, and with backpressure while there is none. */
function createReader(body: Readable, call: HttpCall) {
  let chunks: Buffer[] = []
  let bytesAhead = 0
  let isDiscarding = false
  let waiting: { onBytes: (bytes: Buffer | null) => void; onFailure: (reason: unknown) => void } | undefined
  let waitingSince = 0

  const takeChunks = () => {
    const bytes = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)
    chunks = []
    bytesAhead = 0
    if (body.isPaused()) body.resume()
    return bytes
  }
  const settle = () => {
    if (!waiting) return
    const { onBytes, onFailure } = waiting
    waiting = undefined // the callback may read again at once
    if (call.failure) onFailure(call.failure.reason)
    else if (chunks.length > 0) onBytes(takeChunks())
    else if (body.readableEnded) onBytes(null)
    else if (body.destroyed) onFailure(call.fail(describeFailure(body.errored)))
    else waiting = { onBytes, onFailure }
  }
  body.on('data', (bytes: Buffer) => {
    if (isDiscarding) return
    chunks.push(bytes)
    bytesAhead += bytes.length
    if (bytesAhead >= maxBytesAhead) body.pause()
    settle()
  })
  for (const event of ['end', 'error', 'close']) body.on(event, settle)

  return {
    waitedMs: () => (waiting ? performance.now() - waitingSince : 0),
    read: (onBytes: (bytes: Buffer | null) => void, onFailure: (reason: unknown) => void) => {
      waiting = { onBytes, onFailure }
      waitingSince = performance.now()
      settle()
    },
    discard: () => {
      isDiscarding = true
      if (body.isPaused()) body.resume()
    },
  }
}

/** Returns the beginning of an error response, or '' if it does not arrive. */
export async function readErrorText(response: IncomingMessage): Promise<string> {
  const late = setTimeout(() => response.destroy(), errorTimeoutMs)
  let text = ''
  try {
    for await (const bytes of await decodeBody(response)) {
      text += bytes
      if (text.length > maxErrorLength) break
    }
  } catch {
    // The status says enough.
  } finally {
    clearTimeout(late)
  }
  return text
}

/** `read` as a promise, for responses that are not read token by token. */
export function readBytes(answer: HttpAnswer): Promise<Buffer | null> {
  return new Promise(answer.read)
}

/**
 * Reads a response to its end and closes it. Throws an `LlmError` (`model_protocol`) beyond `maxBytes`, by default 32
 * MiB.
 */
export async function readText(answer: HttpAnswer, maxBytes = maxBodyBytes): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  try {
    for (let bytes = await readBytes(answer); bytes; bytes = await readBytes(answer)) {
      parts.push(bytes)
      length += bytes.length
      if (length > maxBytes) throw new LlmError('model_protocol', 'the response exceeds the size limit')
    }
    answer.drain()
    return Buffer.concat(parts).toString()
  } finally {
    answer.destroy()
  }
}

/**
 * Converts a network error to an `LlmError`. Only its code is kept, because a parser error contains the vendor's bytes.
 */
export function describeFailure(error: unknown): LlmError {
  const code = readErrorCode(error)
  if (/^(HPE_|Z_|ERR__ERROR_FORMAT)/.test(code))
    // HTTP, gzip or deflate, brotli
    return new LlmError('model_protocol', `the model server did not send a valid HTTP response (${code})`)
  return new LlmError('model_unreachable', `the connection to the model failed (${code})`)
}

export function readErrorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'closed'
}
