import { type AnswerPart, endsInHighSurrogate, measureParts } from '@repo/db'
import type { Answer, InputEvent, TextPart } from '../chat/answer.ts'
import { ProblemError } from '../plugins/errors.ts'
import { type EventStream, startHeartbeat } from './event-stream.ts'
import { createUiEvents, type UiEvents } from './ui-events.ts'

const maxDeltaLength = 16_384 // UTF-16 units; limits what a reader that catches up adds to a socket's buffer at once
const maxLengthPerTurn = 4 * maxDeltaLength // about 1 ms

/** The position in an answer from an event's `id:`. Everything up to `position` has arrived; see `measureParts`. */
export type EventId = { answerId: string; position: number }

/** Parses a `Last-Event-ID`. Throws `ProblemError` 400. */
export function parseEventId(text: string): EventId {
  const [, answerId, position] = /^([A-Za-z0-9_-]{1,64})\.(\d{1,9})$/.exec(text) ?? []
  if (answerId && position) return { answerId, position: Number(position) }
  throw new ProblemError(400, 'invalid_event_id', 'Invalid Last-Event-ID. Use the id of an event of this stream.')
}

/** Where a stream begins: at the beginning, after what the client has, or with what was added to a known answer. */
export type StreamStart = { position: number; isContinued: boolean }

/**
 * Writes an answer as the AI SDK's UI message stream, protocol v1: existing parts at once, the rest as it arrives. With
 * `from`, only what follows its position is sent. Resolves when the response has ended or its client has disconnected.
 * The answer itself continues. https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
 */
export async function writeUiMessageStream(stream: EventStream, answer: Answer, from?: StreamStart): Promise<void> {
  const { response } = stream
  if (response.destroyed) return
  const closed = Promise.withResolvers<void>()
  const writer = createWriter(stream, answer, from)
  const stopHeartbeat = startHeartbeat(stream)
  const { add, addInput, catchUp } = writer
  const leave = answer.follow({ onDelta: add, onPart: catchUp, onInput: addInput, onEnd: catchUp })
  response.on('drain', writer.catchUp)
  response.on('close', closed.resolve)
  response.on('error', closed.resolve) // a reset appears here first; `close` follows
  writer.begin()
  await closed.promise
  leave()
  stopHeartbeat()
}

/** Creates a writer that follows an answer. While the socket is full it stays behind, and `drain` lets it catch up. */
function createWriter(stream: EventStream, answer: Answer, from?: StreamStart) {
  const events = createUiEvents(stream, answer)
  const cursor = createCursor(answer, events, from?.position ?? 0)
  let isWaiting = false

  const resume = () => {
    isWaiting = false
    catchUp()
  }

  /** Sends a long answer over several turns of the event loop, because a fast socket accepts 1 MB at once. */
  const catchUp = () => {
    events.degrade()
    let left = maxLengthPerTurn
    while (!isWaiting && !stream.isFull() && !stream.response.writableEnded) {
      if (left <= 0) {
        isWaiting = true
        return void setImmediate(resume)
      }
      const sent = cursor.sendNext()
      if (sent !== undefined) left -= sent
      else if (answer.end) events.finish()
      else return
    }
  }

  const isUpToDate = (part: AnswerPart | undefined, length: number) =>
    !isWaiting && cursor.isAt(part, length) && !stream.isFull()

  return {
    catchUp,
    /** Sends a delta. For a reader that is up to date, the common case, nothing is copied. */
    add: (part: TextPart, delta: string) => {
      if (isUpToDate(part, part.text.length - delta.length)) cursor.sendDelta(part, delta)
      else catchUp()
    },
    addInput: (event: InputEvent) => {
      const last = answer.parts.at(-1)
      if (isUpToDate(last, last ? measureParts([last]) : 0)) events.input(event)
    },
    begin: () => {
      if (!from || from.isContinued) events.start()
      else stream.begin() // the next event may take long
      catchUp()
    },
  }
}

/** Creates a reader's position in an answer: a part and an offset in it. The first `skip` units are not sent. */
function createCursor(answer: Answer, events: UiEvents, skip: number) {
  let left = skip
  let position = 0
  let index = 0
  let offset = 0

  const advance = (length: number) => {
    offset += length
    position += length
    return length
  }
  const skipReceived = (part: AnswerPart) => {
    left -= advance(Math.min(left, measureParts([part]) - offset))
    if (offset > 0) events.skip(part)
  }
  const sendDelta = ({ type }: TextPart, delta: string) => {
    advance(delta.length)
    events.delta(index, type, delta, position)
    return delta.length
  }

  return {
    /** Returns whether everything before `length` units of this part was sent. */
    isAt: (part: AnswerPart | undefined, length: number) =>
      left === 0 && part !== undefined && answer.parts[index] === part && offset === length,
    sendDelta,
    /** Sends or skips the next piece. Returns the length of what was sent, or undefined at the end. */
    sendNext: (): number | undefined => {
      const part = answer.parts[index]
      if (!part) return undefined
      if (left > 0) skipReceived(part)
      if ('text' in part && offset < part.text.length) return sendDelta(part, takePiece(part.text, offset))
      if (!('text' in part) && offset === 0) {
        events.part(part, position + 1)
        return advance(1)
      }
      if (index === answer.parts.length - 1) return undefined
      events.endText()
      index += 1
      offset = 0
      return 0
    },
  }
}

function takePiece(text: string, offset: number): string {
  const piece = text.slice(offset, offset + maxDeltaLength)
  return endsInHighSurrogate(piece) ? piece.slice(0, -1) : piece
}
