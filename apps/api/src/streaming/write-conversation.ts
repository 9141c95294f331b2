import { fromStored, type Store } from '@repo/db'
import { type MessageMetadata, toMetadata } from '../chat/metadata.ts'
import { toUiParts } from '../chat/ui-parts.ts'
import { writeJsonPieces } from './json-pieces.ts'

type StoredMessage = NonNullable<Awaited<ReturnType<Store['conversations']['read']>>>['messages'][number]
type Restated = 'createdAt' | 'error' | 'feedback' | 'feedbackComment' | 'finishReason' | Tokens
type Tokens = 'inputTokens' | 'outputTokens' | 'cachedTokens'
export type Message = Omit<StoredMessage, Restated> & {
  createdAt: string
  error?: string
  metadata?: MessageMetadata
  feedback?: { value: 1 | -1; comment?: string }
}
type Conversation = { id: string; title: string; createdAt: string; messages: Message[] }

export const toMessage = (stored: StoredMessage): Message => {
  const { createdAt, error, feedback, feedbackComment, finishReason, ...others } = stored
  const { inputTokens, outputTokens, cachedTokens, ...message } = others
  return {
    ...message,
    ...(error && { error }),
    ...toMetadata({ ...message, finishReason, inputTokens, outputTokens, cachedTokens }),
    ...(feedback && { feedback: { value: feedback, ...(feedbackComment && { comment: feedbackComment }) } }),
    createdAt: createdAt.toISOString(),
  }
}

type ShortMessage = Message & { content: string }
/** Returns whether the content of a message has been read. */
export const isShort = (message: Message): message is ShortMessage => message.content !== null

/** Returns a message as clients receive it. */
export const toResponse = (message: ShortMessage) => ({ ...message, parts: toUiMessageParts(message, message.content) })

/** Returns the parts of a message. Of an answer whose content is read later, texts are empty. */
function toUiMessageParts({ role, parts, sources }: Message, content: string) {
  if (role === 'user') return [{ type: 'text' as const, text: content }]
  return toUiParts(fromStored({ content, parts }), sources)
}

/**
 * Yields a conversation as JSON. Long messages are read when they are due, piece by piece, so that neither memory nor the
 * event loop holds a whole one. One that was deleted or answered again meanwhile is left out. If it is deleted while it
 * is read, the response is cut off.
 */
export async function* writeConversation(
  { messages, ...conversation }: Conversation,
  readContent: (messageId: string) => AsyncIterable<string>,
): AsyncGenerator<string> {
  let before = `${JSON.stringify(conversation).slice(0, -1)},"messages":[`
  for (const message of messages) {
    const pieces = isShort(message)
      ? writeJsonPieces(toResponse(message))
      : writeLong(message, () => readContent(message.id))
    for await (const piece of pieces) {
      yield `${before}${piece}`
      before = ''
    }
    before ||= ','
  }
  yield before === ',' ? ']}' : `${before}]}`
}

/** Yields a long message, whose content is read twice: as a whole, and as the texts of its parts. */
async function* writeLong(message: Message, readContent: () => AsyncIterable<string>): AsyncGenerator<string> {
  const { content: _, parts, ...rest } = message
  let before = `${JSON.stringify(rest).slice(0, -1)},"content":"`
  for await (const piece of readContent()) {
    yield `${before}${toJson(piece)}`
    before = ''
  }
  if (before !== '') return
  yield '","parts":['
  const texts = createTextReader(readContent())
  const lengths = parts?.flatMap((part) => (part.type === 'text' ? part.length : [])) ?? [Number.POSITIVE_INFINITY]
  const shown = parts ? toUiMessageParts(message, '') : toUiMessageParts(message, ' ')
  for (const [index, part] of shown.entries()) {
    if (index > 0) yield ','
    if (part.type !== 'text') yield JSON.stringify(part)
    else {
      const { text, ...others } = part
      yield `${JSON.stringify(others).slice(0, -1)},"text":"`
      for await (const piece of texts.take(lengths.shift() ?? 0)) yield toJson(piece)
      yield '"}'
    }
  }
  yield ']}'
}

function toJson(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}

/** Divides a text that arrives in pieces. */
function createTextReader(pieces: AsyncIterable<string>) {
  const iterator = pieces[Symbol.asyncIterator]()
  let left = ''
  return {
    /** Yields the next `length` UTF-16 units, or less at the end. */
    take: async function* (length: number): AsyncGenerator<string> {
      for (let missing = length; missing > 0; ) {
        const next = left || (await iterator.next()).value
        if (!next) return
        const piece: string = next.slice(0, missing)
        left = next.slice(piece.length)
        missing -= piece.length
        yield piece
      }
    },
  }
}
