import { randomUUID } from 'node:crypto'
import { toStorableText } from '@repo/db'
import { z } from 'zod'
import { ProblemError } from '../plugins/errors.ts'

/** A question from `POST /chat`, in any client's format. */
export type Question = {
  conversationId: string
  questionId: string
  text: string
  /** Answers a stored question again and replaces its answer. */
  regenerate: boolean
  /** The name of the model to ask. Undefined: the default one. */
  model?: string | undefined
}

/** `useChat` creates ids of 16 characters, the server UUIDs. */
export const ConversationId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 characters from A-Z a-z 0-9 _ -')

/** UTF-16 units, about 8,000 tokens: the whole context of small models. Longer texts belong in documents. */
export const maxMessageLength = 32_000

const TextPart = z.looseObject({ type: z.literal('text'), text: z.string() })
const OtherPart = z.looseObject({ type: z.string() })
const LastMessage = z.object({
  id: ConversationId,
  role: z.literal('user', 'the last message must be from the user'),
  parts: z.array(z.union([TextPart, OtherPart])),
})

/** Either a plain message, or what the AI SDK's `DefaultChatTransport` posts. Only the last of its messages is used. */
export const ChatRequest = z
  .looseObject({
    message: z.string().optional(),
    conversationId: ConversationId.optional(),
    id: ConversationId.optional(),
    messages: z.array(z.unknown()).min(1, 'must end with a message from the user').optional(),
    trigger: z.enum(['submit-message', 'regenerate-message']).optional(),
    messageId: z.string().nullish(),
    model: z.string().nullish().meta({ description: 'One of GET /models. Default: the one marked as `default`' }),
  })
  .meta({
    description: '`message` with an optional `conversationId`, or `id`, `messages` and `trigger` of the AI SDK.',
    examples: [
      { message: 'Why does this project use PgBouncer?', conversationId: 'opening-hours' },
      {
        id: 'opening-hours',
        messages: [{ id: 'm1', role: 'user', parts: [{ type: 'text', text: 'When does the office open?' }] }],
        trigger: 'submit-message',
      },
    ],
  })

/**
 * Returns the question of a request. Throws `ProblemError`: 400 for a message that is missing or has no text, 413 for
 * one that is too long.
 */
export function toQuestion(body: z.output<typeof ChatRequest>): Question {
  const question = body.messages ? fromUiMessages(body, body.messages) : fromPlainMessage(body)
  if (question.text.trim() === '') throw invalid('message', 'must be a non-empty string')
  if (question.text.length > maxMessageLength) {
    throw new ProblemError(
      413,
      'message_too_large',
      `The message exceeds ${maxMessageLength} characters. Post long text to /documents.`,
    )
  }
  return { ...question, text: toStorableText(question.text), model: body.model ?? undefined }
}

function fromPlainMessage({ message, conversationId }: z.output<typeof ChatRequest>): Question {
  if (message === undefined) throw invalid('message', 'is missing. Send {"message": "…"}')
  return { conversationId: conversationId ?? randomUUID(), questionId: randomUUID(), text: message, regenerate: false }
}

function fromUiMessages({ id, trigger }: z.output<typeof ChatRequest>, messages: unknown[]): Question {
  const last = LastMessage.safeParse(messages.at(-1))
  if (!last.success) {
    const [issue] = last.error.issues
    throw invalid(['messages', messages.length - 1, ...(issue?.path ?? [])].join('/'), issue?.message ?? 'is invalid')
  }
  const texts = last.data.parts.flatMap((part) =>
    part.type === 'text' && typeof part.text === 'string' ? [part.text] : [],
  )
  return {
    conversationId: id ?? randomUUID(),
    questionId: last.data.id,
    text: texts.join('\n'),
    regenerate: trigger === 'regenerate-message',
  }
}

function invalid(path: string, message: string): ProblemError {
  const errors = [{ path: `/${path}`, message }]
  return new ProblemError(400, 'invalid_request', `/${path}: ${message}`, { extra: { errors } })
}
