import type { Store } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { SourceResponse } from '../chat/find-passages.ts'
import { ConversationId } from '../chat/question.ts'
import { decodeCursor, PageQuery, toPage } from '../paging.ts'
import { ProblemError } from '../plugins/errors.ts'
import { sendJsonPieces, writeJsonPieces } from '../streaming/json-pieces.ts'

const pageSize = 50 // messages

const Params = z.object({ id: ConversationId.meta({ examples: ['opening-hours'] }) })

const MessageResponse = z
  .object({
    id: z.string(),
    role: z.enum(['user', 'assistant']),
    content: z.string(),
    status: z.enum(['streaming', 'complete', 'stopped', 'interrupted', 'failed']),
    sources: z.array(SourceResponse),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Message', description: 'A message of a conversation' })

const summary = {
  id: 'opening-hours',
  title: 'When does the office open?',
  createdAt: '2026-11-24T09:00:00.000Z',
}

const ConversationSummary = z
  .object({
    id: z.string(),
    title: z.string(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'ConversationSummary', description: 'A conversation without its messages' })
const ConversationResponse = z
  .object({
    id: z.string(),
    title: z.string(),
    createdAt: z.iso.datetime(),
    messages: z
      .array(MessageResponse)
      .meta({ description: `The newest ${pageSize}, oldest first. Use \`before\` for older ones.` }),
  })
  .meta({
    id: 'Conversation',
    description: 'A conversation and its messages',
    examples: [
      {
        ...summary,
        messages: [
          {
            id: 'm1',
            role: 'user',
            content: summary.title,
            status: 'complete',
            sources: [],
            createdAt: summary.createdAt,
          },
        ],
      },
    ],
  })
const ConversationList = z
  .object({ items: z.array(ConversationSummary), next: z.string().nullable() })
  .meta({ description: 'A page', examples: [{ items: [{ ...summary, updatedAt: summary.createdAt }], next: null }] })
const Deleted = z.undefined().meta({ description: 'The conversation has been deleted' })

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
 * Yields a conversation as JSON. Long messages are read when they are due, so only one of them is in memory. One that was
 * deleted or answered again meanwhile is left out.
 */
export async function* writeConversation(
  { messages, ...conversation }: Conversation,
  readContent: (messageId: string) => Promise<string | undefined>,
): AsyncGenerator<string> {
  let before = `${JSON.stringify(conversation).slice(0, -1)},"messages":[`
  for (const message of messages) {
    const content = message.content ?? (await readContent(message.id))
    if (content === undefined) continue
    yield before
    yield* writeJsonPieces({ ...message, content })
    before = ','
  }
  yield before === ',' ? ']}' : `${before}]}`
}

const notFound = () => new ProblemError(404, 'conversation_not_found', 'Conversation not found.')

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
        querystring: z.object({
          before: ConversationId.optional().meta({ description: 'A message id. Returns older messages.' }),
        }),
        response: { 200: ConversationResponse },
      },
    },
    async ({ owner, params: { id }, query: { before } }, reply) => {
      const conversation = await app.store.conversations.read(owner, id, pageSize, before)
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

export default routes
