import { hasVisibleText, toStorableText } from '@repo/db'
import { z } from 'zod'
import { ConversationId } from '../chat/question.ts'
import { SourceResponse } from '../chat/source.schemas.ts'
import { PageQuery } from '../paging.ts'

export const messagePageSize = 50 // messages per response

export const Params = z.object({ id: ConversationId.meta({ examples: ['opening-hours'] }) })

export const MessageParams = Params.extend({
  messageId: ConversationId.meta({ description: 'An answer', examples: ['580c896d-e351-448d-a15e-87136161cb60'] }),
})

export const ListQuery = PageQuery.extend({
  q: z.string().max(200).default('').transform(toStorableText).meta({
    description: 'Only conversations that contain each of these words in their title or in a message',
  }),
})

/** One line, so that lists stay readable. */
const toLine = (text: string) => toStorableText(text).replaceAll(/\s+/g, ' ')

export const RenameRequest = z
  .object({ title: z.string().trim().max(200).refine(hasVisibleText, 'must not be empty').transform(toLine) })
  .meta({ examples: [{ title: 'Opening hours' }] })

export const FeedbackRequest = z
  .object({
    value: z.literal([1, -1, 0]).meta({ description: '1 is good, -1 is bad, 0 removes the rating' }),
    comment: z.string().trim().max(2000).transform(toStorableText).optional(),
  })
  .meta({ examples: [{ value: 1, comment: 'Exactly what I needed.' }] })

export const ReadQuery = z.object({
  before: ConversationId.optional().meta({ description: 'A message id. Returns older messages.' }),
})

const MessagePart = z.looseObject({ type: z.string() })
const FeedbackResponse = z
  .object({ value: z.literal([1, -1]), comment: z.string().optional() })
  .meta({ id: 'Feedback', description: "The owner's rating of an answer" })

const MetadataResponse = z
  .object({
    finishReason: z.string().optional().meta({ description: 'Why the model ended the answer' }),
    model: z.string().optional(),
    usage: z
      .object({
        inputTokens: z.int(),
        outputTokens: z.int(),
        totalTokens: z.int(),
        cachedInputTokens: z.int().optional().meta({ description: 'Those read from the prompt cache' }),
      })
      .optional(),
  })
  .meta({ id: 'MessageMetadata', description: 'Of a complete answer, as `finish` has it in `messageMetadata`' })

const MessageResponse = z
  .object({
    id: z.string(),
    role: z.enum(['user', 'assistant']),
    content: z.string().meta({ description: 'The plain text' }),
    parts: z.array(MessagePart).meta({ description: 'As `useChat` takes them as initial messages' }),
    status: z.enum(['streaming', 'complete', 'stopped', 'interrupted', 'failed']),
    sources: z.array(SourceResponse),
    feedback: FeedbackResponse.optional(),
    model: z.string().nullable().meta({ description: 'The model that wrote this answer. Null while it runs' }),
    error: z.string().optional().meta({ description: 'Why the answer failed' }),
    metadata: MetadataResponse.optional(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Message', description: 'A message of a conversation' })

const summary = {
  id: 'opening-hours',
  title: 'When does the office open?',
  createdAt: '2026-11-24T09:00:00.000Z',
}

export const ConversationSummary = z
  .object({
    id: z.string(),
    title: z.string(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({
    id: 'ConversationSummary',
    description: 'A conversation without its messages',
    examples: [{ ...summary, updatedAt: summary.createdAt }],
  })

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
            parts: [{ type: 'text', text: summary.title }],
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

export const Rated = z.undefined().meta({ description: 'The rating has been stored or removed' })
export const Deleted = z.undefined().meta({ description: 'The conversation has been deleted' })
