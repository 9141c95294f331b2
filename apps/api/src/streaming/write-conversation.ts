import { Readable } from 'node:stream'
import { fromStored, type Store, type StoredFile, type StoredPart } from '@repo/db'
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
/** Returns whether a message has been read completely: its content, and it has no files. */
export const isShort = (message: Message): message is ShortMessage =>
  message.content !== null && !message.parts?.some(({ type }) => type === 'file')

/** Returns a message as clients receive it. */
export const toResponse = (message: ShortMessage) => ({ ...message, parts: toUiMessageParts(message, message.content) })

/** Returns the parts of a message. Of an answer whose content is read later, texts are empty. */
function toUiMessageParts({ role, parts, sources }: Message, content: string) {
  if (role === 'user') return parts ? parts.flatMap(toQuestionPart) : [{ type: 'text' as const, text: content }]
  return toUiParts(fromStored({ content, parts }), sources)
}

/** Returns a part of a question whose text and URL are read later. */
function toQuestionPart(part: StoredPart): { type: 'text'; text: string } | StoredFile | [] {
  if (part.type === 'text') return { type: 'text', text: '' }
  return part.type === 'file' ? part : []
}

/** What is read of a message when it is due. */
export type ReadLater = {
  readContent: (messageId: string) => AsyncIterable<string>
  readUrl: (file: StoredFile) => AsyncIterable<string>
}

/**
 * Yields a conversation as JSON. Long messages and files are read when they are due, piece by piece, so that neither memory
 * nor the event loop holds a whole one. A message that was deleted or answered again meanwhile is left out. If it is deleted
 * while it is read, the response is cut off.
 */
export async function* writeConversation(
  { messages, ...conversation }: Conversation,
  later: ReadLater,
): AsyncGenerator<string> {
  let before = `${JSON.stringify(conversation).slice(0, -1)},"messages":[`
  for (const message of messages) {
    const pieces = isShort(message) ? writeJsonPieces(toResponse(message)) : writeLong(message, later)
    for await (const piece of pieces) {
      yield `${before}${piece}`
      before = ''
    }
    before ||= ','
  }
  yield before === ',' ? ']}' : `${before}]}`
}

/** Yields a long message. Its content is read twice: as a whole, and as the texts of its parts. */
async function* writeLong(message: Message, later: ReadLater): AsyncGenerator<string> {
  const { content, parts, ...rest } = message
  const readContent = () => (content === null ? later.readContent(message.id) : Readable.from([content]))
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
    if (part.type === 'text') yield* writePart(part, 'text', texts.take(lengths.shift() ?? 0))
    else if (part.type === 'file') yield* writePart(toUiFile(part), 'url', later.readUrl(part))
    else yield JSON.stringify(part)
  }
  yield ']}'
}

const toUiFile = ({ id: _, length: __, ...file }: StoredFile) => file

/** Yields a part. The pieces are the value of its field `name`. */
async function* writePart(part: object, name: string, pieces: AsyncIterable<string>): AsyncGenerator<string> {
  yield `${JSON.stringify({ ...part, [name]: undefined }).slice(0, -1)},"${name}":"`
  for await (const piece of pieces) yield toJson(piece)
  yield '"}'
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
