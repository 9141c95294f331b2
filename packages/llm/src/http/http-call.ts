import type { ClientRequest, IncomingMessage } from 'node:http'
import { LlmError } from '../llm.ts'

export type Deadlines = {
  /** From the start of the call to its first event; for an answer that is not streamed, to its end. */
  firstByteTimeoutMs: number
  /** For each wait for bytes after the first event. */
  idleTimeoutMs: number
}

/** A 2xx answer. Whoever gets one ends it with `drain` or `destroy`; until then its deadline runs. */
export type HttpAnswer = {
  contentType: string
  /**
   * Waits for the next bytes, null at the end, and tells one of the two once: `onFailure` of an `LlmError`, or of the reason
   * of the signal that was aborted. By callback, since a promise more for each token shows.
   */
  read: (onBytes: (bytes: Buffer | null) => void, onFailure: (reason: unknown) => void) => void
  /** Says that the first event is here: from now on the idle deadline counts. */
  markStarted: () => void
  /** Says that what may still come is of little worth, and not waited for long. */
  markWhole: () => void
  /** Nothing more is needed: lets the last bytes go by, so that the connection serves the next call. */
  drain: () => void
  /** Closes the connection at once; does nothing after `drain`. */
  destroy: () => void
}

/** What a call holds from its start to its end: the deadline, the ear at the caller's signal, the request. */
export type HttpCall = {
  /** The attempt under way: what a failure closes. */
  request: ClientRequest | undefined
  /** Why the call failed. */
  failure: { reason: unknown } | undefined
  deadline: NodeJS.Timeout
  idleTimeoutMs: number
  onLate: () => void
  /** Ends the call and closes its connection. The first reason counts, and is returned. */
  fail: (reason: unknown) => unknown
  /** Lets go of timer and signal. */
  release: () => void
}

/** Bytes may trail `[DONE]` by a packet; a connection that lingers longer is not worth keeping. */
const drainTimeoutMs = 1000

/** What follows an answer comes with its last event or a packet later; some servers say `stop` before the end. */
const lastEventsTimeoutMs = 5000

/** Read ahead of a slow reader: two full reads of a socket, so that a quick one is never paused for. */
const maxBytesAhead = 128 * 1024

/** Three times 96 vectors of 4,096 dimensions. */
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

export function openAnswer(response: IncomingMessage, call: HttpCall): HttpAnswer {
  const reader = createReader(response, call)
  let isStarted = false
  let isDrained = false

  // A timer that is set anew for each token shows; and a reader that takes its time is no fault of the model's.
  const watch = (ms: number) => {
    clearTimeout(call.deadline)
    call.deadline = setTimeout(() => {
      const leftMs = call.idleTimeoutMs - reader.waitedMs()
      if (leftMs > 0) watch(leftMs)
      else call.onLate()
    }, ms)
  }
  return {
    contentType: response.headers['content-type'] ?? '',
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
      if (!isDrained) call.fail(new LlmError('model_unreachable', 'the call was given up'))
    },
  }
}

/** A response by one pending `read` at a time, with backpressure while there is none. */
function createReader(response: IncomingMessage, call: HttpCall) {
  let chunks: Buffer[] = []
  let bytesAhead = 0
  let isDiscarding = false
  let waiting: { onBytes: (bytes: Buffer | null) => void; onFailure: (reason: unknown) => void } | undefined
  let waitingSince = 0

  const takeChunks = () => {
    const bytes = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)
    chunks = []
    bytesAhead = 0
    if (response.isPaused()) response.resume()
    return bytes
  }
  const settle = () => {
    if (!waiting) return
    const { onBytes, onFailure } = waiting
    waiting = undefined // whoever is told may wait again at once
    if (call.failure) onFailure(call.failure.reason)
    else if (chunks.length > 0) onBytes(takeChunks())
    else if (response.readableEnded) onBytes(null)
    else if (response.destroyed) onFailure(call.fail(describeFailure(response.errored)))
    else waiting = { onBytes, onFailure }
  }
  response.on('data', (bytes: Buffer) => {
    if (isDiscarding) return
    chunks.push(bytes)
    bytesAhead += bytes.length
    if (bytesAhead >= maxBytesAhead) response.pause()
    settle()
  })
  for (const event of ['end', 'error', 'close']) response.on(event, settle)

  return {
    waitedMs: () => (waiting ? performance.now() - waitingSince : 0),
    read: (onBytes: (bytes: Buffer | null) => void, onFailure: (reason: unknown) => void) => {
      waiting = { onBytes, onFailure }
      waitingSince = performance.now()
      settle()
    },
    discard: () => {
      isDiscarding = true
      if (response.isPaused()) response.resume()
    },
  }
}

/** `read` as a promise, for what is not read token by token. */
export function readBytes(answer: HttpAnswer): Promise<Buffer | null> {
  return new Promise(answer.read)
}

/** Reads an answer to its end and closes it. Throws an `LlmError` (`model_protocol`) beyond `maxBytes`, by default 32 MiB. */
export async function readText(answer: HttpAnswer, maxBytes = maxBodyBytes): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  try {
    for (let bytes = await readBytes(answer); bytes; bytes = await readBytes(answer)) {
      parts.push(bytes)
      length += bytes.length
      if (length > maxBytes) throw new LlmError('model_protocol', 'the model sent a body without end')
    }
    answer.drain()
    return Buffer.concat(parts).toString()
  } finally {
    answer.destroy()
  }
}

/** A network error as ours. Only its code is kept: a parser's error carries the vendor's bytes. */
export function describeFailure(error: unknown): LlmError {
  const code = readErrorCode(error)
  if (code.startsWith('HPE_')) return new LlmError('model_protocol', `the model's server does not speak HTTP (${code})`)
  return new LlmError('model_unreachable', `the connection to the model failed (${code})`)
}

export function readErrorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'closed'
}
