import { fromStored, type Store } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { toUiParts } from '../chat/ui-parts.ts'
import { decodeCursor, PageQuery, toPage } from '../paging.ts'
import { ProblemError } from '../plugins/errors.ts'
import { sendJsonPieces, writeJsonPieces } from '../streaming/json-pieces.ts'
import {
  ConversationList,
  ConversationResponse,
  Deleted,
  messagePageSize,
  Params,
  ReadQuery,
} from './conversations.schemas.ts'

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '',
    {
      config: { problems: { 400: ['invalid_cursor'] } },
      schema: {
        operationId: 'listConversations',
        summary: 'List conversations, newest activity first',
        querystring: PageQuery,
        response: { 200: ConversationList },
      },
    },
    async ({ owner, query: { limit, after } }) => {
      const rows = await app.store.conversations.list(owner, limit + 1, decodeCursor(after))
      return toPage(rows, limit, (row) => row.updatedAt, toSummary)
    },
  )

  app.get(
    '/:id',
    {
      config: { problems: { 404: ['conversation_not_found'] } },
      schema: {
        operationId: 'readConversation',
        summary: 'Read a conversation',
        params: Params,
        querystring: ReadQuery,
        response: { 200: ConversationResponse },
      },
    },
    async ({ owner, params: { id }, query: { before } }, reply) => {
      const conversation = await app.store.conversations.read(owner, id, messagePageSize, before)
      if (!conversation) throw notFound()
      const { title, createdAt } = conversation
      const messages = conversation.messages.map(toMessage).reverse()
      const response = { id, title, createdAt: createdAt.toISOString() }
      if (messages.every(isShort)) return { ...response, messages: messages.map(toResponse) }
      const readContent = (messageId: string) => app.store.conversations.readContent(owner, id, messageId)
      return sendJsonPieces(reply, writeConversation({ ...response, messages }, readContent))
    },
  )

  app.delete(
    '/:id',
    {
      config: { problems: { 404: ['conversation_not_found'] } },
      schema: {
        operationId: 'deleteConversation',
        summary: 'Delete a conversation and stop its running answer',
        params: Params,
        response: { 204: Deleted },
      },
    },
    async ({ owner, params: { id } }, reply) => {
      await app.chat.stop(owner, id)
      if (!(await app.store.conversations.remove(owner, id))) throw notFound()
      return reply.code(204).send()
    },
  )
}

const toSummary = ({
  id,
  title,
  createdAt,
  updatedAt,
}: {
  id: string
  title: string
  createdAt: Date
  updatedAt: Date
}) => ({
  id,
  title,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
})

type StoredMessage = NonNullable<Awaited<ReturnType<Store['conversations']['read']>>>['messages'][number]
type Message = Omit<StoredMessage, 'createdAt'> & { createdAt: string }
type Conversation = { id: string; title: string; createdAt: string; messages: Message[] }

const toMessage = ({ createdAt, ...message }: StoredMessage): Message => ({
  ...message,
  createdAt: createdAt.toISOString(),
})

type ShortMessage = Message & { content: string }
const isShort = (message: Message): message is ShortMessage => message.content !== null

const toResponse = (message: ShortMessage) => ({ ...message, parts: toUiMessageParts(message, message.content) })

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

const notFound = () =>
  new ProblemError(404, 'conversation_not_found', 'Conversation not found. See GET /conversations for yours.')

export default routes
