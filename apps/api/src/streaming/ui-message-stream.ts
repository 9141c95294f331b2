import { endsInHighSurrogate, type Source } from '@repo/db'
import type { Answer, Segment } from '../chat/answer.ts'
import { ProblemError } from '../plugins/errors.ts'
import { type EventStream, startHeartbeat } from './event-stream.ts'

const maxDeltaLength = 16_384 // UTF-16 units; limits what a reader that catches up adds to a socket's buffer at once
const maxLengthPerTurn = 4 * maxDeltaLength // about 1 ms

/** The position in an answer from an event's `id:`. All text up to `position`, in UTF-16 units, has arrived. */
export type EventId = { answerId: string; position: number }

/** Parses a `Last-Event-ID`. Throws `ProblemError` 400. */
export function parseEventId(text: string): EventId {
  const [, answerId, position] = /^([A-Za-z0-9_-]{1,64})\.(\d{1,9})$/.exec(text) ?? []
  if (answerId && position) return { answerId, position: Number(position) }
  throw new ProblemError(400, 'invalid_event_id', 'Invalid Last-Event-ID. Use the id of an event of this stream.')
}

/**
 * Writes an answer as the AI SDK's UI message stream, protocol v1: existing text at once, the rest as it arrives. With
 * a `position`, only the text after it is sent. Resolves when the response has ended or its client has disconnected.
 * The answer itself continues. https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
 */
export async function writeUiMessageStream(stream: EventStream, answer: Answer, position?: number): Promise<void> {
  const { response } = stream
  if (response.destroyed) return
  const closed = Promise.withResolvers<void>()
  const writer = createWriter(stream, answer, position)
  const stopHeartbeat = startHeartbeat(stream)
  const leave = answer.follow({ onDelta: writer.add, onEnd: writer.catchUp })
  response.on('drain', writer.catchUp)
  response.on('close', closed.resolve)
  response.on('error', closed.resolve) // a reset appears here first; `close` follows
  writer.begin()
  await closed.promise
  leave()
  stopHeartbeat()
}

/**
 * Creates a writer that follows an answer. Its position is a segment and an offset. While the socket is full it stays
 * behind, and `drain` lets it catch up. With `resumesAt`, only text is sent, because reasoning is not stored and has no
 * position.
 */
function createWriter(stream: EventStream, answer: Answer, resumesAt?: number) {
  const parts = createParts(stream, answer, resumesAt !== undefined)
  let skip = resumesAt ?? 0
  let position = 0
  let index = 0
  let offset = 0
  let sent = 0
  let isWaiting = false

  const sendDelta = (segment: Segment, delta: string) => {
    offset += delta.length
    sent += delta.length
    if (segment.type === 'text') position += delta.length
    parts.delta(index, segment.type, delta, position)
  }

  /** Skips what the client already has. */
  const skipReceived = ({ type, text }: Segment) => {
    const left = text.length - offset
    const skipped = type === 'text' ? Math.min(skip, left) : left
    offset += skipped
    if (type !== 'text') return
    position += skipped
    skip -= skipped
  }

  const resume = () => {
    isWaiting = false
    catchUp()
  }

  /** Sends a long answer over several turns of the event loop, because a fast socket accepts 1 MB at once. */
  const catchUp = () => {
    const stopAt = sent + maxLengthPerTurn
    while (!isWaiting && !stream.isFull() && !stream.response.writableEnded) {
      if (sent >= stopAt) {
        isWaiting = true
        return void setImmediate(resume)
      }
      const segment = answer.segments[index]
      if (segment && resumesAt !== undefined) skipReceived(segment)
      if (segment && offset < segment.text.length) sendDelta(segment, takePiece(segment.text, offset))
      else if (index < answer.segments.length - 1) {
        parts.endSegment()
        index += 1
        offset = 0
      } else if (answer.end) parts.finish()
      else return
    }
  }

  return {
    catchUp,
    /** Sends a delta. For a reader that is up to date, the common case, nothing is copied. */
    add: (segment: Segment, delta: string) => {
      const isUpToDate =
        !isWaiting && answer.segments[index] === segment && offset + delta.length === segment.text.length
      if (isUpToDate && resumesAt === undefined && !stream.isFull()) sendDelta(segment, delta)
      else catchUp()
    },
    begin: () => {
      if (resumesAt === undefined) parts.start()
      else stream.begin() // the next event may take long
      catchUp()
    },
  }
}

/**
 * Sends events in the order that the protocol requires: a start before its deltas, and sources before the first text.
 */
function createParts(stream: EventStream, answer: Answer, isResumed: boolean) {
  const { conversationId, answerId } = answer.key
  let open: { id: string; type: Segment['type'] } | undefined
  let hasSources = isResumed

  const send = (part: object) => stream.send(toEvent(part))

  /** Sends the sources. They are known before the first word, but not always when the response begins. */
  const sendSources = () => {
    if (hasSources || (answer.sources.length === 0 && !answer.end)) return
    hasSources = true
    for (const source of answer.sources) send(toSourcePart(source))
  }

  const openSegment = (type: Segment['type'], index: number) => {
    if (open) return
    open = { id: String(index), type }
    send({ type: `${type}-start`, id: open.id })
  }

  const endSegment = () => {
    if (open) send({ type: `${open.type}-end`, id: open.id })
    open = undefined
  }

  return {
    start: () => {
      send({ type: 'start', messageId: answerId })
      send({ type: 'data-conversation', data: { id: conversationId }, transient: true })
      sendSources()
    },
    delta: (index: number, type: Segment['type'], delta: string, position: number) => {
      if (!hasSources) sendSources()
      openSegment(type, index)
      const part = `{"type":"${type}-delta","id":"${index}","delta":${JSON.stringify(delta)}}`
      stream.send(`id: ${answerId}.${position}\ndata: ${part}\n\n`)
    },
    endSegment,
    finish: () => {
      sendSources()
      if (answer.end?.status !== 'failed') {
        if (isResumed) openSegment('text', answer.segments.length) // the protocol requires its end
        endSegment()
      }
      stream.end(`${toEvent(closingPart(answer))}data: [DONE]\n\n`)
    },
  }
}

function toEvent(part: object): string {
  return `data: ${JSON.stringify(part)}\n\n`
}

function takePiece(text: string, offset: number): string {
  const piece = text.slice(offset, offset + maxDeltaLength)
  return endsInHighSurrogate(piece) ? piece.slice(0, -1) : piece
}

function toSourcePart({ n, title, ...place }: Source) {
  return {
    type: 'source-document',
    sourceId: String(n),
    mediaType: 'text/plain',
    title,
    providerMetadata: { sluice: place },
  }
}

function closingPart({ end }: Answer) {
  if (end?.status === 'complete') return { type: 'finish', ...(end.finishReason && { finishReason: end.finishReason }) }
  if (end?.status === 'failed') return { type: 'error', errorText: end.error ?? 'The answer failed.' }
  return { type: 'abort', reason: end?.status }
}
