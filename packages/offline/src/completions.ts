import { randomUUID } from 'node:crypto'
import {
  asksForUsage,
  type ChatMessage,
  type CompletionBody,
  type CompletionMessage,
  type CompletionModel,
  type CompletionRequest,
  readMessageText,
  UnsupportedParameterError,
} from '@repo/llm'
import { composeAnswer } from './answer.ts'
import { defaultWordIntervalMs, type OfflineChatOptions, streamWords } from './chat.ts'
import { countTokens, type Limits, limitText } from './tokens.ts'

const model = 'offline'

/**
 * The offline chat model behind OpenAI's API. It honours `stop` and `max_tokens`, ignores what only steers a language
 * model, such as `temperature`, and throws an `UnsupportedParameterError` for the rest.
 */
export function createOfflineCompletions({
  wordIntervalMs = defaultWordIntervalMs,
}: OfflineChatOptions = {}): CompletionModel {
  return {
    name: model,
    complete: async (request) => {
      const { content, finishReason, usage } = answer(request)
      const message = { role: 'assistant', content, refusal: null }
      const choices = [{ index: 0, message, logprobs: null, finish_reason: finishReason }]
      return { ...describe('chat.completion'), choices, usage }
    },
    stream: async (request) => {
      const result = answer(request)
      return writeChunks(result, streamWords(result.content, wordIntervalMs, request.signal), request)
    },
  }
}

function answer({ body, passages, question, signal }: CompletionRequest) {
  signal.throwIfAborted()
  assertSupported(body)
  const messages = body.messages.flatMap(toChatMessage)
  const { text: content, finishReason } = limitText(composeAnswer(messages, passages, question), readLimits(body))
  const prompt_tokens = messages.reduce((sum, message) => sum + countTokens(message.content), 0)
  const completion_tokens = countTokens(content)
  const usage = { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
  return { content, finishReason, usage }
}

/** If usage is requested, the last chunk has it and the others have `usage: null`, as OpenAI's do. */
async function* writeChunks(
  { finishReason, usage }: ReturnType<typeof answer>,
  words: AsyncIterable<string>,
  { body, onUsage }: CompletionRequest,
): AsyncGenerator<string[], undefined> {
  const withUsage = asksForUsage(body)
  const start = { ...describe('chat.completion.chunk'), ...(withUsage && { usage: null }) }
  const write = (delta: object, finish_reason: string | null = null) => [
    JSON.stringify({ ...start, choices: [{ index: 0, delta, logprobs: null, finish_reason }] }),
  ]
  yield write({ role: 'assistant', content: '' })
  for await (const content of words) yield write({ content })
  yield write({}, finishReason)
  onUsage?.({ inputTokens: usage.prompt_tokens, outputTokens: usage.completion_tokens })
  if (withUsage) yield [JSON.stringify({ ...start, choices: [], usage })]
}

function describe(object: string) {
  return { id: `chatcmpl-${randomUUID()}`, object, created: Math.floor(Date.now() / 1000), model }
}

/** Tool calls and their results are left out: they cannot be quoted. */
function toChatMessage(message: CompletionMessage): ChatMessage[] {
  const content = readMessageText(message)
  if (message.role === 'system' || message.role === 'developer') return [{ role: 'system', content }]
  return message.role === 'user' || message.role === 'assistant' ? [{ role: message.role, content }] : []
}

function readLimits({ stop, max_completion_tokens, max_tokens, max_output_tokens }: CompletionBody): Limits {
  const stopSequences = [stop].flat().filter((sequence) => typeof sequence === 'string' && sequence !== '')
  const maxTokens = Number(max_completion_tokens ?? max_tokens ?? max_output_tokens ?? Number.POSITIVE_INFINITY)
  return { stopSequences: stopSequences.map(String), maxTokens }
}

function assertSupported({ messages, n, response_format: format, tool_choice: tool }: CompletionBody): void {
  const reject = (param: string, problem: string) => {
    throw new UnsupportedParameterError(param, `${problem} Set CHAT_MODEL to use a language model.`)
  }
  if (n !== undefined && n !== null && n !== 1) reject('n', 'The offline model returns one choice. Omit `n`.')
  if (isObject(format) && format.type !== 'text')
    reject('response_format', 'The offline model returns plain text. Omit `response_format`.')
  if (tool === 'required' || isObject(tool))
    reject('tool_choice', 'The offline model calls no tools. Omit `tool_choice`.')
  for (const [index, { content }] of messages.entries()) {
    const isText = !Array.isArray(content) || content.every(({ type }) => type === 'text' || type === 'refusal')
    if (!isText) reject(`messages[${index}].content`, 'The offline model reads text only. Omit other content parts.')
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
