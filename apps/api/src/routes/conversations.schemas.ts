import { z } from 'zod'
import { ConversationId } from '../chat/question.ts'
import { SourceResponse } from '../chat/source.schemas.ts'

export const messagePageSize = 50 // messages per response

export const Params = z.object({ id: ConversationId.meta({ examples: ['opening-hours'] }) })

export const ReadQuery = z.object({
  before: ConversationId.optional().meta({ description: 'A message id. Returns older messages.' }),
})

const MessageResponse = z
  .object({
    id: z.string(),
    role: z.enum(['user', 'assistant']),
    content: z.string(),
    status: z.enum(['streaming', 'complete', 'stopped', 'interrupted', 'failed']),
    sources: z.array(SourceResponse),
    model: z.string().nullable().meta({ description: 'The model that wrote this answer. Null while it runs' }),
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

export const ConversationResponse = z
  .object({
    id: z.string(),
    title: z.string(),
    createdAt: z.iso.datetime(),
    messages: z
      .array(MessageResponse)
      .meta({ description: `The newest ${messagePageSize}, oldest first. Use \`before\` for older ones.` }),
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
            model: null,
            createdAt: summary.createdAt,
          },
        ],
      },
    ],
  })

export const ConversationList = z
  .object({ items: z.array(ConversationSummary), next: z.string().nullable() })
  .meta({ description: 'A page', examples: [{ items: [{ ...summary, updatedAt: summary.createdAt }], next: null }] })

export const Deleted = z.undefined().meta({ description: 'The conversation has been deleted' })
