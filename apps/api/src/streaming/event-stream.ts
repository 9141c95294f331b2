import type { ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'

/** Until then a failure has a status of its own; a client that waits longer wants to see that something happens. */
export const headersAfterMs = 5000

const heartbeatIntervalMs = 15_000 // proxies cut connections that are silent for 30 to 60 s
const maxWaitingLength = 16_384 // UTF-16 units; more than that is written at once, so that a full socket shows

const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store, no-transform', // nothing of an answer stays on the way, and nobody compresses it
  'x-accel-buffering': 'no', // nginx would hold the stream back
}

export type EventStream = ReturnType<typeof createEventStream>

/** Takes the response over from Fastify, with the headers of a stream of events and those set so far. */
export function openEventStream(reply: FastifyReply, headers: Record<string, string> = {}): EventStream {
  reply.hijack()
  for (const [name, value] of Object.entries({ ...reply.getHeaders(), ...streamHeaders, ...headers })) {
    if (value !== undefined) reply.raw.setHeader(name, value)
  }
  return createEventStream(reply.raw)
}

/**
 * Server-sent events as the text of a response. To write is most of what a token costs, so what is sent in one turn of the
 * event loop leaves in one write to the socket, where `response.write` makes four of each: the chunks of HTTP/1.1 are framed
 * here. `drain` of the response says that a client which was too slow has read.
 */
export function createEventStream(response: ServerResponse) {
  // A client of HTTP/1.0 knows no chunks; `app.inject` has no socket, and reads what is written.
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
    if (!socket || isFirst) return response.write(takeWaiting()) // the headers leave with it
    if (socket.write(takeWaiting())) return true
    if (!isDrainAwaited) socket.once('drain', tellDrain)
    isDrainAwaited = true
    return false
  }
  const tellDrain = () => {
    isDrainAwaited = false
    response.emit('drain')
  }

  return {
    response,
    /** Sends the headers, though there is nothing to say yet. */
    begin: () => {
      begin()
      response.flushHeaders()
    },
    send: (events: string): void => {
      if (waiting === '') flushSoon(flush)
      waiting += events
      if (waiting.length >= maxWaitingLength) flush()
    },
    /** Sends at once; false when the client has to read first. */
    write: (events: string): boolean => {
      waiting += events
      return flush()
    },
    /** Whether the client has to read first. */
    isFull: (): boolean => isDrainAwaited || response.writableNeedDrain,
    end: (events: string): void => {
      waiting += events
      begin()
      response.end(socket ? `${takeWaiting()}0\r\n\r\n` : takeWaiting())
    },
  }
}

/**
 * Says that a stream lives, until the returned function is called. A client that has read nothing from one beat to the next
 * is hung up on; it may resume.
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
 * Once what has arrived for all streams is read, what they have to say is written one after the other. Written in a row,
 * a write took 20 µs where it took 30 between reads (`npm run bench -- --only tokens-200 --profile`), probably because who
 * reads is awake from the first one on.
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
