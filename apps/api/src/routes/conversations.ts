import { hasVisibleText, type StoredFile, type ConversationSummary as StoredSummary } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { decodeCursor, encodeCursor, toPage } from '../paging.ts'
import { ProblemError } from '../plugins/errors.ts'
import { sendJsonPieces } from '../streaming/json-pieces.ts'
import { isShort, toMessage, toResponse, writeConversation } from '../streaming/write-conversation.ts'
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
      if (!hasVisibleText(q)) {
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
      config: { scopes: ['chat'], problems: { 404: ['conversation_not_found'] } },
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
      config: { scopes: ['chat'], problems: { 404: ['answer_not_found'] } },
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
      const response = { id, title, createdAt: createdAt.toISOString() }
      if (messages.every(isShort)) return { ...response, messages: messages.map(toResponse) }
      const readContent = (messageId: string) => app.store.conversations.readContent(owner, id, messageId)
      const readUrl = (file: StoredFile) => app.store.messageFiles.readUrl(owner, file)
      return sendJsonPieces(reply, writeConversation({ ...response, messages }, { readContent, readUrl }))
    },
  )

  app.delete(
    '/:id',
    {
      config: { scopes: ['chat'], problems: { 404: ['conversation_not_found'] } },
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

const notFound = () =>
  new ProblemError(404, 'conversation_not_found', 'Conversation not found. See GET /conversations for yours.')

export default routes
