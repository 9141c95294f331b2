import type { Store, ConversationSummary as StoredSummary } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { decodeCursor, encodeCursor, toPage } from '../paging.ts'
import { ProblemError } from '../plugins/errors.ts'
import { sendJsonPieces, writeJsonPieces } from '../streaming/json-pieces.ts'
import {
  ConversationList,
  ConversationResponse,
  ConversationSummary,
  Deleted,
  FeedbackRequest,
  ListQuery,
  MessageParams,
  messagePageSize,
  Params,
  Rated,
  ReadQuery,
  RenameRequest,
} from './conversations.schemas.ts'

const serveList: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '',
    {
      config: { problems: { 400: ['invalid_cursor'] } },
      schema: {
        operationId: 'listConversations',
        summary: 'List or search conversations, newest activity first',
        querystring: ListQuery,
        response: { 200: ConversationList },
      },
    },
    async ({ owner, query: { q, limit, after } }) => {
      const { conversations } = app.store
      if (q.trim() === '') {
        const rows = await conversations.list(owner, limit + 1, decodeCursor(after))
        return toPage(rows, limit, (row) => row.updatedAt, toSummary)
      }
      const { found, next } = await conversations.search(owner, q, limit + 1, decodeCursor(after))
      const page = toPage(found, limit, (row) => row.updatedAt, toSummary)
      return next && page.next === null ? { ...page, next: encodeCursor(next) } : page
    },
  )
}

const serveChanges: FastifyPluginAsyncZod = async (app) => {
  app.patch(
    '/:id',
    {
      config: { problems: { 404: ['conversation_not_found'] } },
      schema: {
        operationId: 'renameConversation',
        summary: 'Rename a conversation',
        params: Params,
        body: RenameRequest,
        response: { 200: ConversationSummary },
      },
    },
    async ({ owner, params: { id }, body: { title } }) => {
      const renamed = await app.store.conversations.rename(owner, id, title)
      if (!renamed) throw notFound()
      return toSummary(renamed)
    },
  )

  app.put(
    '/:id/messages/:messageId/feedback',
    {
      config: { problems: { 404: ['answer_not_found'] } },
      schema: {
        operationId: 'rateAnswer',
        summary: 'Rate an answer',
        params: MessageParams,
        body: FeedbackRequest,
        response: { 204: Rated },
      },
    },
    async ({ owner, params: { id, messageId }, body: { value, comment } }, reply) => {
      const feedback = value === 0 ? null : { value, comment: comment || null }
      if (!(await app.store.conversations.rate(owner, id, messageId, feedback)))
        throw new ProblemError(
          404,
          'answer_not_found',
          'Answer not found. Send the id of an assistant message of GET /conversations/:id.',
        )
      return reply.code(204).send()
    },
  )
}

const routes: FastifyPluginAsyncZod = async (app) => {
  await app.register(serveList)
  await app.register(serveChanges)

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

const toSummary = ({ createdAt, updatedAt, ...summary }: StoredSummary) => ({
  ...summary,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
})

type StoredMessage = NonNullable<Awaited<ReturnType<Store['conversations']['read']>>>['messages'][number]
type Message = Omit<StoredMessage, 'createdAt' | 'feedback' | 'feedbackComment'> & {
  createdAt: string
  feedback?: { value: 1 | -1; comment?: string }
}
type Conversation = { id: string; title: string; createdAt: string; messages: Message[] }

const toMessage = ({ createdAt, feedback, feedbackComment, ...message }: StoredMessage): Message => ({
  ...message,
  ...(feedback && { feedback: { value: feedback, ...(feedbackComment && { comment: feedbackComment }) } }),
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
