import { once } from 'node:events'
import type { FastifyReply } from 'fastify'
import { toOpenAiError } from '../plugins/errors.ts'
import { type EventStream, headersAfterMs, openEventStream, startHeartbeat } from '../streaming/event-stream.ts'
import { toCallProblem } from './run-call.ts'

export type ChunkStream = {
  /** Sends the headers, unless they have been sent. */
  open: () => unknown
  /**
   * Sends chunks in one write. Resolves when the client can accept more. Rejects with the signal's reason when it has
   * disconnected.
   */
  send: (chunks: string[]) => Promise<void>
}

/** Runs `write` on a stream of OpenAI chunks. The stream ends with `[DONE]`, or with an error and without `[DONE]`. */
export async function writeChunkStream<T>(
  reply: FastifyReply,
  signal: AbortSignal,
  write: (stream: ChunkStream) => Promise<T>,
): Promise<T> {
  let events: EventStream | undefined
  let stopHeartbeat = () => {}
  const open = () => {
    if (events) return events
    events = openEventStream(reply)
    events.begin()
    stopHeartbeat = startHeartbeat(events)
    return events
  }
  const send = async (chunks: string[]) => {
    const { write, response } = open()
    if (write(toEvents(chunks)) || signal.aborted) return // once the time is up, do not wait for the client
    await once(response, 'drain', { signal }).catch(() => signal.throwIfAborted())
  }
  const timer = setTimeout(open, headersAfterMs)
  try {
    const result = await write({ open, send })
    open().end('data: [DONE]\n\n')
    return result
  } catch (error) {
    events?.end(toEvents([JSON.stringify(toOpenAiError(toCallProblem(error)))]))
    throw error
  } finally {
    clearTimeout(timer)
    stopHeartbeat()
  }
}

function toEvents(chunks: string[]): string {
  return chunks.map((chunk) => `data: ${chunk}\n\n`).join('')
}
