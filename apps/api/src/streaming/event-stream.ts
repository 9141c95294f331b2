import type { ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'

/**
 * How long headers are held back, so that an early failure can have its own status. Clients that wait longer should see
 * that the request is running.
 */
export const headersAfterMs = 5000

const heartbeatIntervalMs = 15_000 // proxies close connections that are idle for 30 to 60 s
const maxWaitingLength = 16_384 // UTF-16 units; longer text is written at once, so that a full socket is noticed

const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store, no-transform', // no proxy may cache, buffer or compress an answer
  'x-accel-buffering': 'no', // disables buffering in nginx
}

export type EventStream = ReturnType<typeof createEventStream>

/** Takes the response over from Fastify, with the headers of an event stream and those already set. */
export function openEventStream(reply: FastifyReply, headers: Record<string, string> = {}): EventStream {
  reply.hijack()
  for (const [name, value] of Object.entries({ ...reply.getHeaders(), ...streamHeaders, ...headers })) {
    if (value !== undefined) reply.raw.setHeader(name, value)
  }
  if (reply.request.method === 'HEAD') reply.raw.end() // events are written to the socket, so Node would not drop them
  return createEventStream(reply.raw)
}

/**
 * Creates a stream of server-sent events on a response. Writing to the socket is most of the CPU per token, so all
 * events of one turn of the event loop are sent in one write. `response.write` would make four writes per event, so the
 * chunks of HTTP/1.1 are framed here. The response's `drain` event reports that a slow client has caught up.
 */
export function createEventStream(response: ServerResponse) {
  // HTTP/1.0 clients do not support chunks. `app.inject` has no socket, and reads what is written.
  const socket = response.useChunkedEncodingByDefault && response.socket instanceof Socket ? response.socket : undefined
  let waiting = ''
  let isDrainAwaited = false

  const takeWaiting = () => {
    const text = waiting
    waiting = ''
    return socket && text !== '' ? `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n` : text
  }
  const begin = () => {
    if (response.headersSent) return
    response.writeHead(response.statusCode)
    if (socket) response.chunkedEncoding = false // else Node frames it too
  }
  const flush = () => {
    if (waiting === '' || response.destroyed || response.writableEnded) return true
    const isFirst = !response.headersSent
    begin()
    if (!socket || isFirst) return response.write(takeWaiting()) // the headers are sent with it
    if (socket.write(takeWaiting())) return true
    if (!isDrainAwaited) socket.once('drain', emitDrain)
    isDrainAwaited = true
    return false
  }
  const emitDrain = () => {
    isDrainAwaited = false
    response.emit('drain')
  }

  return {
    response,
    /** Sends the headers before there are any events. */
    begin: () => {
      begin()
      response.flushHeaders()
    },
    send: (events: string): void => {
      if (waiting === '') flushSoon(flush)
      waiting += events
      if (waiting.length >= maxWaitingLength) flush()
    },
    /** Sends events at once. Returns false when the client has to read first. */
    write: (events: string): boolean => {
      waiting += events
      return flush()
    },
    /** Returns whether the client has to read first. */
    isFull: (): boolean => isDrainAwaited || response.writableNeedDrain,
    end: (events: string): void => {
      if (response.writableEnded) return
      waiting += events
      begin()
      response.end(socket ? `${takeWaiting()}0\r\n\r\n` : takeWaiting())
    },
  }
}

/**
 * Sends heartbeats until the returned function is called. A client that reads nothing between two heartbeats is
 * disconnected, and may resume.
 */
export function startHeartbeat({ response, send, isFull }: EventStream): () => void {
  let isStuck = false
  const timer = setInterval(() => {
    if (isStuck) response.destroy()
    else if (isFull() || response.writableEnded) isStuck = true
    else send(': heartbeat\n\n')
  }, heartbeatIntervalMs)
  response.on('drain', () => {
    isStuck = false
  })
  return () => clearInterval(timer)
}

let waitingFlushes: (() => void)[] = []

/**
 * Schedules a write for after all pending input has been read. Writing to all streams in a row takes less CPU per write
 * than writing between reads (`npm run bench -- --only tokens-200 --profile`): 20 µs instead of 30, probably because
 * the readers are already awake.
 */
function flushSoon(flush: () => void): void {
  if (waitingFlushes.length === 0) setImmediate(flushAll)
  waitingFlushes.push(flush)
}

function flushAll(): void {
  const flushes = waitingFlushes
  waitingFlushes = []
  for (const flush of flushes) flush()
}
