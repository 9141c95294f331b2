import { once } from 'node:events'
import type { FastifyReply } from 'fastify'
import { toOpenAiError } from '../plugins/errors.ts'
import { type EventStream, headersAfterMs, openEventStream, startHeartbeat } from '../streaming/event-stream.ts'
import { toCallProblem } from './run-call.ts'

export type ChunkStream = {
  /** Sends the headers, unless they have been sent. */
  open: () => unknown
  /**
   * Sends events in one write. Resolves when the client can accept more. Rejects with the signal's reason when it has
   * disconnected.
   */
  send: (events: string) => Promise<void>
}

/** How a stream ends. */
export type Ending = { done: string; toFailure: (error: unknown) => string }

/** Completions end with `[DONE]`, or with an error and without `[DONE]`. */
export const completionEnding: Ending = {
  done: 'data: [DONE]\n\n',
  toFailure: (error) => toEvents([JSON.stringify(toOpenAiError(toCallProblem(error)))]),
}

/** Runs `write` on a stream of events, then ends it. */
export async function writeChunkStream<T>(
  reply: FastifyReply,
  signal: AbortSignal,
  { done, toFailure }: Ending,
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
  const send = async (text: string) => {
    const { write, response } = open()
    if (write(text) || signal.aborted) return // once the time is up, do not wait for the client
    await once(response, 'drain', { signal }).catch(() => signal.throwIfAborted())
  }
  const timer = setTimeout(open, headersAfterMs)
  try {
    const result = await write({ open, send })
    open().end(done)
    return result
  } catch (error) {
    events?.end(toFailure(error))
    throw error
  } finally {
    clearTimeout(timer)
    stopHeartbeat()
  }
}

/** Returns chunks as events. */
export function toEvents(chunks: string[]): string {
  return chunks.map((chunk) => `data: ${chunk}\n\n`).join('')
}
