import type { Store } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import type { z } from 'zod'
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
      const response = { id, title, createdAt: createdAt.toISOString(), messages }
      if (hasAllContents(response)) return response
      const readContent = (messageId: string) => app.store.conversations.readContent(owner, id, messageId)
      return sendJsonPieces(reply, writeConversation(response, readContent))
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

const hasAllContents = (conversation: Conversation): conversation is z.output<typeof ConversationResponse> =>
  conversation.messages.every(({ content }) => content !== null)

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
    for await (const piece of message.content === null ? writeLong(message, readContent) : writeJsonPieces(message)) {
      yield `${before}${piece}`
      before = ''
    }
    before ||= ','
  }
  yield before === ',' ? ']}' : `${before}]}`
}

async function* writeLong(
  { content: _, ...message }: Message,
  readContent: (messageId: string) => AsyncIterable<string>,
): AsyncGenerator<string> {
  let before = `${JSON.stringify(message).slice(0, -1)},"content":"`
  for await (const piece of readContent(message.id)) {
    yield `${before}${JSON.stringify(piece).slice(1, -1)}`
    before = ''
  }
  if (before === '') yield '"}'
}

const notFound = () =>
  new ProblemError(404, 'conversation_not_found', 'Conversation not found. See GET /conversations for yours.')

export default routes
