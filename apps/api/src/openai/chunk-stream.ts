import { once } from 'node:events'
import type { FastifyReply } from 'fastify'
import { toOpenAiError } from '../plugins/errors.ts'
import { type EventStream, headersAfterMs, openEventStream, startHeartbeat } from '../streaming/event-stream.ts'
import { toCallProblem } from './run-call.ts'

export type ChunkStream = {
  /** Sends the headers, unless they have been. */
  open: () => unknown
  /** Sends chunks, in one write; resolves when the client can take more. Rejects with the signal's reason when it has left. */
  send: (chunks: string[]) => Promise<void>
}

/** Runs `write` on a stream of OpenAI's chunks, which ends as it does: with `[DONE]`, or with an error and none. */
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
    if (write(toEvents(chunks)) || signal.aborted) return // the last chunk of an answer whose time is up is not waited for
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
