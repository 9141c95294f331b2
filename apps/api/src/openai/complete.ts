import { hasVisibleText, type Member, toStorableText } from '@repo/db'
import {
  type CompletionModel,
  callWithFallback,
  type Fallback,
  type Llm,
  readMessageText,
  streamWithFallback,
} from '@repo/llm'
import { maxQuestions, quotePassages, rewriteQuestion, writeInstructions } from '@repo/rag'
import type { FastifyReply } from 'fastify'
import type { z } from 'zod'
import { findPassages } from '../chat/find-passages.ts'
import { maxMessageLength } from '../chat/question.ts'
import { toScope } from '../chat/scope.ts'
import type { SearchPassages } from '../chat/search-passages.ts'
import { ProblemError } from '../plugins/errors.ts'
import type { Call } from './call.ts'
import { type ChunkStream, completionEnding, type Ending, writeChunkStream } from './chunk-stream.ts'
import { limitCompletion } from './limit-completion.ts'
import type { CompletionRequest } from './routes.schemas.ts'
import { type Completion, type RetrievalFields, sendChunks } from './send-chunks.ts'

export type CompletionOptions = {
  searchPassages: SearchPassages
  llm: Llm
  systemPrompt: string | undefined
  /** The model to ask. */
  model: CompletionModel
  onFallback: (fallback: Fallback) => void
}

type Body = z.output<typeof CompletionRequest>

type Prepared = { request: Parameters<CompletionModel['stream']>[0]; fields: RetrievalFields }

/** A model's completion with our fields. */
export type CompletionResult = Record<string, unknown> & RetrievalFields

/** Returns the whole answer at once, with its citations. */
export async function complete(
  options: CompletionOptions,
  member: Member,
  body: Body,
  call: Call,
  reply: FastifyReply,
): Promise<CompletionResult> {
  const { request, fields } = await prepare(options, member, body, call)
  forbidRetry(reply)
  const { model, result } = await callWithFallback(toChain(options, body), options.model, (m) => m.complete(request))
  call.accept(model.name, request.body.messages)
  call.countCompletion(result)
  return { ...limitCompletion(result), ...fields }
}

/** The events in which a client receives a completion. */
export type Output = {
  ending: Ending
  send: (stream: ChunkStream, completion: Completion) => Promise<void>
}

const chunks: Output = { ending: completionEnding, send: sendChunks }

/** Streams the answer, as OpenAI chunks by default. */
export function streamCompletion(
  options: CompletionOptions,
  member: Member,
  body: Body,
  call: Call,
  reply: FastifyReply,
  { ending, send }: Output = chunks,
): Promise<void> {
  const { signal } = call.controller
  return writeChunkStream(reply, signal, ending, async (stream) => {
    const { request, fields } = await prepare(options, member, body, call)
    forbidRetry(reply)
    const { model, events } = await streamWithFallback(toChain(options, body), options.model, (m) => m.stream(request))
    call.accept(model.name, request.body.messages)
    stream.open()
    const { maxAnswerTokens: maxTokens = call.limits.maxTokens } = model
    return send(stream, { call, batches: events, fields, choices: body.n ?? 1, maxTokens })
  })
}

/** Returns the models that may take over: with images, only those that take them. */
function toChain({ llm, onFallback }: CompletionOptions, { messages }: Body) {
  const isImage = ({ type }: { type: string }) => type === 'image_url'
  const hasImages = messages.some(({ content }) => Array.isArray(content) && content.some(isImage))
  if (!hasImages) return { models: llm.completionModels, onFallback }
  const takesImages = (name: string) => llm.chatModels.get(name)?.capabilities.images
  return { models: new Map([...llm.completionModels].filter(([name]) => takesImages(name))), onFallback }
}

/** Tells OpenAI's clients not to retry. Each attempt costs money, and they would make two more. */
export function forbidRetry(reply: FastifyReply): void {
  reply.header('x-should-retry', 'false')
}

/**
 * Retrieves passages for the user's last message and puts them before its text. Our instructions join the client's. All
 * other bytes stay as they are, so a cached prompt stays valid in the next call. `retrieval`, `filter` and `documentIds`
 * are our own parameters and are not forwarded.
 */
async function prepare(
  { searchPassages, systemPrompt }: CompletionOptions,
  { owner, organization }: Member,
  { retrieval, filter, documentIds, ...body }: Body,
  call: Call,
): Promise<Prepared> {
  const { keyId, reportUsage: onUsage } = call
  const { signal } = call.controller
  if (!retrieval) return { request: { body, passages: [], onUsage, signal }, fields: {} }
  const scope = toScope({ filter, documentIds })
  const questions = body.messages.filter(({ role }) => role === 'user')
  const asked = questions.slice(-maxQuestions).map(readQuestion)
  const question = asked.at(-1) ?? ''
  if (isBlankQuestion(body.messages.at(-1)))
    throw new ProblemError(400, 'invalid_request', 'The last message is blank. Send a text, or `"retrieval": false`.')
  const { passages, sources, degraded } = question
    ? await findPassages(searchPassages, owner, rewriteQuestion(asked), { scope, organization, signal, keyId })
    : { passages: [], sources: [], degraded: undefined }
  const quoting = addPassages(body.messages, quotePassages(passages, question))
  const messages = addInstructions(quoting, writeInstructions(systemPrompt))
  const fields = { citations: sources, ...(degraded && { degraded }) }
  return { request: { body: { ...body, messages }, passages, question, onUsage, signal }, fields }
}

/**
 * Appends our instructions to the client's, in one message. Templates of some models reject a second system message, or
 * one that is not first.
 */
function addInstructions([first, ...rest]: Body['messages'], text: string): Body['messages'] {
  if (!first || !['system', 'developer'].includes(first.role)) {
    return [{ role: 'system', content: text }, ...(first ? [first] : []), ...rest]
  }
  const { content } = first
  const added = typeof content === 'string' ? `${content}\n\n${text}` : [...(content ?? []), { type: 'text', text }]
  return [{ ...first, content: added }, ...rest]
}

/**
 * Puts `text` before the user's last message, also when tool results follow it: the model server has cached that message.
 * A message of its own would break the alternation of roles that some chat templates require.
 */
function addPassages(messages: Body['messages'], text: string): Body['messages'] {
  const last = messages.findLastIndex(({ role }) => role === 'user')
  const message = messages[last]
  if (text === '' || !message) return messages
  const { content } = message
  const added = typeof content === 'string' ? `${text}${content}` : [{ type: 'text', text }, ...(content ?? [])]
  return messages.with(last, { ...message, content: added })
}

/** Returns whether a message is from the user and has neither text nor another part, such as an image. */
function isBlankQuestion(message?: Body['messages'][number]): boolean {
  if (message?.role !== 'user' || hasVisibleText(readMessageText(message))) return false
  return !Array.isArray(message.content) || message.content.every(({ type }) => type === 'text')
}

/** Returns the question of a message. A message that is too long is cut to its end, where the question is. */
function readQuestion(message: Body['messages'][number]): string {
  return toStorableText(readMessageText(message).slice(-maxMessageLength)).trim()
}
