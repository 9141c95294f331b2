import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'

/** Until then a failure has a status of its own; a client that waits longer wants to see that something happens. */
export const headersAfterMs = 5000

const heartbeatIntervalMs = 15_000 // proxies cut connections that are silent for 30 to 60 s

const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store, no-transform', // nothing of an answer stays on the way, and nobody compresses it
  'x-accel-buffering': 'no', // nginx would hold the stream back
}

/** Takes the response over from Fastify, and gives it the headers of a stream of events and those set so far. */
export function openEventStream(reply: FastifyReply, headers: Record<string, string> = {}): ServerResponse {
  reply.hijack()
  for (const [name, value] of Object.entries({ ...reply.getHeaders(), ...streamHeaders, ...headers })) {
    if (value !== undefined) reply.raw.setHeader(name, value)
  }
  return reply.raw
}

/**
 * Says that a stream lives, until the returned function is called. A client that has read nothing from one beat to the next
 * is hung up on; it may resume.
 */
export function startHeartbeat(response: ServerResponse): () => void {
  let isStuck = false
  const timer = setInterval(() => {
    if (isStuck) response.destroy()
    else if (response.writableNeedDrain || response.writableEnded) isStuck = true
    else response.write(': heartbeat\n\n')
  }, heartbeatIntervalMs)
  response.on('drain', () => {
    isStuck = false
  })
  return () => clearInterval(timer)
}
