import type { ServerResponse } from 'node:http'
import type { Source } from '@repo/db'
import { type Answer, endsInHighSurrogate, type Segment } from './answer.ts'

const heartbeatIntervalMs = 15_000 // proxies cut connections that are silent for 30 to 60 s
const maxDeltaLength = 16_384 // what a reader that catches up adds at most to a socket's buffer at once

/**
 * Writes an answer as the AI SDK's UI message stream, protocol v1: what there is of it at once, the rest as it comes.
 * Resolves when the response has ended or its client has left; the answer itself goes on.
 * https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
 */
export async function writeUiMessageStream(response: ServerResponse, answer: Answer): Promise<void> {
  if (response.destroyed) return
  const closed = Promise.withResolvers<void>()
  const writer = createWriter(response, answer)
  const beat = () => response.writableEnded || response.write(': heartbeat\n\n')
  const heartbeat = setInterval(beat, heartbeatIntervalMs)
  const leave = answer.follow({ onDelta: writer.add, onEnd: writer.catchUp })
  response.on('drain', writer.catchUp)
  response.on('close', closed.resolve)
  response.on('error', closed.resolve) // a reset shows here first; `close` follows
  writer.begin()
  writer.catchUp()
  await closed.promise
  leave()
  clearInterval(heartbeat)
}

/** Its place in the answer is a segment and an offset. While the socket is full it stays behind; `drain` lets it catch up. */
function createWriter(response: ServerResponse, answer: Answer) {
  const { conversationId, answerId } = answer.key
  let index = 0
  let offset = 0
  let position = 0
  let isOpen = false
  let hasSources = false

  const send = (part: object) => response.write(`data: ${JSON.stringify(part)}\n\n`)

  /** They are known before the first word, but perhaps not yet when the response begins. */
  const sendSources = () => {
    if (hasSources || (answer.sources.length === 0 && !answer.end)) return
    hasSources = true
    for (const source of answer.sources) send(toSourcePart(source))
  }

  const sendDelta = ({ type }: Segment, delta: string) => {
    if (!hasSources) sendSources()
    if (!isOpen) send({ type: `${type}-start`, id: String(index) })
    isOpen = true
    offset += delta.length
    if (type === 'text') position += delta.length
    const part = `{"type":"${type}-delta","id":"${index}","delta":${JSON.stringify(delta)}}`
    response.write(`id: ${answerId}.${position}\ndata: ${part}\n\n`)
  }

  const closeSegment = () => {
    if (isOpen) send({ type: `${answer.segments[index]?.type}-end`, id: String(index) })
    isOpen = false
    index += 1
    offset = 0
  }

  const finish = () => {
    sendSources()
    if (answer.end?.status !== 'failed' && isOpen) closeSegment()
    send(closingPart(answer))
    response.end('data: [DONE]\n\n')
  }

  const catchUp = () => {
    while (!response.writableNeedDrain && !response.writableEnded) {
      const segment = answer.segments[index]
      const isLast = index >= answer.segments.length - 1
      if (segment && offset < segment.text.length) sendDelta(segment, takePiece(segment.text, offset))
      else if (!isLast) closeSegment()
      else if (answer.end) finish()
      else return
    }
  }

  return {
    catchUp,
    /** The common case, a reader that is up to date, copies nothing. */
    add: (segment: Segment, delta: string) => {
      const isUpToDate = answer.segments[index] === segment && offset + delta.length === segment.text.length
      if (isUpToDate && !response.writableNeedDrain) sendDelta(segment, delta)
      else catchUp()
    },
    begin: () => {
      send({ type: 'start', messageId: answerId })
      send({ type: 'data-conversation', data: { id: conversationId }, transient: true })
      sendSources()
    },
  }
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
  if (end?.status === 'complete') return { type: 'finish' }
  if (end?.status === 'failed') return { type: 'error', errorText: end.errorText ?? 'The answer failed.' }
  return { type: 'abort', reason: end?.status }
}
