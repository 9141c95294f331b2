import { randomUUID } from 'node:crypto'
import { hasVisibleText, type Scope, toStorableText } from '@repo/db'
import { z } from 'zod'
import { ProblemError } from '../plugins/errors.ts'
import { safeParse } from '../plugins/nulls.ts'
import { type QuestionContent, readParts, UserParts } from './question-parts.ts'
import { scopeFields, toScope } from './scope.ts'

/** A question from `POST /chat`, in any client's format. */
export type Question = QuestionContent & {
  conversationId: string
  questionId: string
  scope?: Scope | undefined
  /** The organization whose shared documents the answer may be found in too. */
  organization?: string | undefined
  /** Whether it is new, replaces a stored question, or asks for another answer to a stored one. */
  action: 'ask' | 'edit' | 'regenerate'
  /** The message before it, as its client has it. */
  previousId?: string | undefined
  /** The name of the model to ask. Undefined: the default one. */
  model?: string | undefined
}

/** A request to go on with an answer that waits for its client. */
export type Continuation = {
  conversationId: string
  answerId: string
  responses: ToolResponse[]
  organization?: string | undefined
}

/** `useChat` creates ids of 16 characters, the server UUIDs. */
export const ConversationId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 characters from A-Z a-z 0-9 _ -')

/** UTF-16 units, about 8,000 tokens: the whole context of small models. Longer texts belong in documents. */
export const maxMessageLength = 32_000

const UserMessage = z.object({
  id: ConversationId,
  role: z.literal('user', 'the last message must be from the user, or an answer that waits for a tool'),
  parts: UserParts,
})

const PreviousMessage = z.object({ id: z.string() })

const toolCallId = z.string()
const approval = z.object({ id: z.string(), approved: z.boolean(), reason: z.string().optional() })

/** A tool's part of an answer, after the client has run the tool or answered the request for approval. */
const ToolResponse = z.discriminatedUnion('state', [
  z.object({ state: z.literal('output-available'), toolCallId, output: z.unknown() }),
  z.object({ state: z.literal('output-error'), toolCallId, errorText: z.string() }),
  z.object({ state: z.literal('approval-responded'), toolCallId, approval }),
])
export type ToolResponse = z.output<typeof ToolResponse>

const AssistantMessage = z.object({
  id: ConversationId,
  role: z.literal('assistant'),
  parts: z.array(z.unknown()),
})

/** Either a plain message, or what the AI SDK's `DefaultChatTransport` posts. Of its messages, the last and the id of the one before are used. */
export const ChatRequest = z
  .looseObject({
    message: z.string().optional(),
    conversationId: ConversationId.optional(),
    id: ConversationId.optional(),
    messages: z.array(z.unknown()).min(1, 'must end with a message from the user').optional(),
    trigger: z.enum(['submit-message', 'regenerate-message']).optional(),
    messageId: z.string().nullish(),
    model: z.string().nullish().meta({ description: 'One of GET /models. Default: the one marked as `default`' }),
    ...scopeFields,
  })
  .meta({
    description: '`message` with an optional `conversationId`, or `id`, `messages` and `trigger` of the AI SDK.',
    examples: [
      { message: 'Why does this project use PgBouncer?', conversationId: 'opening-hours' },
      { message: 'Who is on call?', filter: { team: 'ops' } },
      {
        id: 'opening-hours',
        messages: [{ id: 'm1', role: 'user', parts: [{ type: 'text', text: 'When does the office open?' }] }],
        trigger: 'submit-message',
      },
    ],
  })

/**
 * Returns the question of a request, or what an answer was waiting for. Throws `ProblemError`: 400 for a message that is
 * missing, is empty or has a part that is not supported, 413 for one that is too long.
 */
export async function readRequest(body: z.output<typeof ChatRequest>): Promise<Question | Continuation> {
  if (!body.messages) return checkQuestion(fromPlainMessage(body), body)
  const last = safeParse(AssistantMessage, body.messages.at(-1)).data
  return last ? toContinuation(body, last) : checkQuestion(await fromUiMessages(body, body.messages), body)
}

function checkQuestion(question: Question, body: z.output<typeof ChatRequest>): Question {
  if (!hasVisibleText(question.text) && !question.files) throw invalid('message', 'must be a non-empty string')
  if (question.text.length > maxMessageLength) {
    throw new ProblemError(
      413,
      'message_too_large',
      `The message exceeds ${maxMessageLength} characters. Post long text to /documents.`,
    )
  }
  return { ...question, text: toStorableText(question.text), scope: toScope(body), model: body.model ?? undefined }
}

function fromPlainMessage({ message, conversationId }: z.output<typeof ChatRequest>): Question {
  if (message === undefined) throw invalid('message', 'is missing. Send {"message": "…"}')
  return { conversationId: conversationId ?? randomUUID(), questionId: randomUUID(), text: message, action: 'ask' }
}

async function fromUiMessages(
  { id, trigger, messageId }: z.output<typeof ChatRequest>,
  messages: unknown[],
): Promise<Question> {
  const last = safeParse(UserMessage, messages.at(-1))
  if (!last.success) {
    const [issue] = last.error.issues
    throw invalid(['messages', messages.length - 1, ...(issue?.path ?? [])].join('/'), issue?.message ?? 'is invalid')
  }
  const { id: questionId, parts } = last.data
  const isEdit = messageId === questionId
  return {
    conversationId: id ?? randomUUID(),
    questionId,
    ...(await readParts(parts, `messages/${messages.length - 1}/parts`)),
    action: trigger === 'regenerate-message' ? 'regenerate' : isEdit ? 'edit' : 'ask',
    previousId: PreviousMessage.safeParse(messages.at(-2)).data?.id,
  }
}

function toContinuation(
  { id }: z.output<typeof ChatRequest>,
  { id: answerId, parts }: z.output<typeof AssistantMessage>,
): Continuation {
  const responses = parts.flatMap((part) => safeParse(ToolResponse, part).data ?? [])
  return { conversationId: id ?? '', answerId, responses }
}

function invalid(path: string, message: string): ProblemError {
  const errors = [{ path: `/${path}`, message }]
  return new ProblemError(400, 'invalid_request', `/${path}: ${message}`, { extra: { errors } })
}
