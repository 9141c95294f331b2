import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { ConversationId } from '../chat/question.ts'
import { decodeCursor, PageQuery, toPage } from '../paging.ts'
import { ProblemError, problems } from '../plugins/errors.ts'

const pageSize = 50 // messages

const Params = z.object({ id: ConversationId })

const MessageResponse = z.object({
  id: z.string(),
  role: z.enum(['user', 'assistant']),
  content: z.string(),
  status: z.enum(['streaming', 'complete', 'stopped', 'interrupted', 'failed']),
  sources: z.array(
    z.object({
      n: z.int().meta({ description: 'The n of [n] in the text' }),
      documentId: z.string(),
      chunkId: z.string(),
      title: z.string(),
      start: z.int(),
      end: z.int(),
      page: z.int().optional(),
    }),
  ),
  createdAt: z.iso.datetime(),
})

const ConversationSummary = z.object({
  id: z.string(),
  title: z.string(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
})
const ConversationResponse = z.object({
  id: z.string(),
  title: z.string(),
  createdAt: z.iso.datetime(),
  messages: z
    .array(MessageResponse)
    .meta({ description: `The newest ${pageSize}, oldest first; \`before\` for older ones` }),
})
const ConversationList = z.object({ items: z.array(ConversationSummary), next: z.string().nullable() })

const notFound = () => new ProblemError(404, 'conversation_not_found', 'There is no such conversation.')

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '',
    {
      schema: {
        summary: 'List conversations, newest activity first',
        tags: ['chat'],
        querystring: PageQuery,
        response: { 200: ConversationList, ...problems },
      },
    },
    async ({ owner, query: { limit, after } }) => {
      const rows = await app.store.conversations.list(owner, limit + 1, decodeCursor(after))
      return toPage(
        rows,
        limit,
        (row) => row.updatedAt,
        ({ createdAt, updatedAt, ...row }) => ({
          ...row,
          createdAt: createdAt.toISOString(),
          updatedAt: updatedAt.toISOString(),
        }),
      )
    },
  )

  app.get(
    '/:id',
    {
      schema: {
        summary: 'Read a conversation',
        tags: ['chat'],
        params: Params,
        querystring: z.object({ before: ConversationId.optional().meta({ description: 'A message id' }) }),
        response: { 200: ConversationResponse, ...problems },
      },
    },
    async ({ owner, params: { id }, query: { before } }) => {
      const conversation = await app.store.conversations.read(owner, id, pageSize, before)
      if (!conversation) throw notFound()
      const { title, createdAt, messages } = conversation
      const items = messages.map((message) => ({ ...message, createdAt: message.createdAt.toISOString() })).reverse()
      return { id, title, createdAt: createdAt.toISOString(), messages: items }
    },
  )

  app.delete(
    '/:id',
    {
      schema: {
        summary: 'Delete a conversation; a running answer is stopped first',
        tags: ['chat'],
        params: Params,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async ({ owner, params: { id } }, reply) => {
      await app.chat.stop(owner, id)
      if (!(await app.store.conversations.remove(owner, id))) throw notFound()
      return reply.code(204).send()
    },
  )
}

export default routes
