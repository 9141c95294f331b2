import { randomUUID } from 'node:crypto'
import { flatten } from '../batches.ts'
import { isObject } from '../json.ts'
import type { AnswerEvent, ChatMessage, ChatModel } from '../llm.ts'
import {
  asksForUsage,
  type CompletionBody,
  type CompletionMessage,
  type CompletionModel,
  type CompletionRequest,
  readMessageText,
  UnsupportedParameterError,
} from '../openai-api.ts'
import { type Limits, limitAnswer } from './limit-answer.ts'
import { charactersPerToken, countTokens } from './tokens.ts'

/**
 * The offline model for clients of OpenAI's API. `stop` and `max_tokens` are honoured; what it cannot do is refused; what
 * only steers a language model, as `temperature` and the tools that it may use, makes no difference.
 */
export function createOfflineCompletions(chat: ChatModel): CompletionModel {
  const open = async ({ body, passages, signal }: CompletionRequest) => {
    assertSupported(body)
    const messages = body.messages.flatMap(toChatMessage)
    const events = await chat.stream({ messages, passages, signal })
    return { messages, events: limitAnswer(flatten(events), readLimits(body)) }
  }
  return {
    name: chat.name,
    complete: async (request) => {
      const { messages, events } = await open(request)
      let content = ''
      let finishReason = 'stop'
      for await (const event of events) {
        if (event.type === 'finish') finishReason = event.finishReason
        else content += event.text
      }
      const message = { role: 'assistant', content, refusal: null }
      const choices = [{ index: 0, message, logprobs: null, finish_reason: finishReason }]
      return { ...describe(chat.name, 'chat.completion'), choices, usage: measureUsage(messages, content) }
    },
    stream: async (request) => {
      const { messages, events } = await open(request)
      return writeChunks(events, chat.name, asksForUsage(request.body) ? messages : undefined)
    },
  }
}

/** With `counted` messages, every chunk has a `usage`, and that of the last one is no null. */
async function* writeChunks(
  events: AsyncIterable<AnswerEvent>,
  model: string,
  counted: ChatMessage[] | undefined,
): AsyncGenerator<string[], undefined> {
  const start = { ...describe(model, 'chat.completion.chunk'), ...(counted && { usage: null }) }
  const write = (delta: object, finish_reason: string | null = null) =>
    JSON.stringify({ ...start, choices: [{ index: 0, delta, logprobs: null, finish_reason }] })
  let content = ''
  yield [write({ role: 'assistant', content: '' })]
  for await (const event of events) {
    if (event.type === 'finish') yield [write({}, event.finishReason)]
    else {
      content += event.text
      yield [write({ content: event.text })]
    }
  }
  if (counted) yield [JSON.stringify({ ...start, choices: [], usage: measureUsage(counted, content) })]
}

function describe(model: string, object: string) {
  return { id: `chatcmpl-${randomUUID()}`, object, created: Math.floor(Date.now() / 1000), model }
}

function measureUsage(messages: ChatMessage[], content: string) {
  const prompt_tokens = messages.reduce((sum, message) => sum + countTokens(message.content), 0)
  const completion_tokens = countTokens(content)
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

/** What tools have said is nothing that it could quote from. */
function toChatMessage(message: CompletionMessage): ChatMessage[] {
  const content = readMessageText(message)
  if (message.role === 'system' || message.role === 'developer') return [{ role: 'system', content }]
  return message.role === 'user' || message.role === 'assistant' ? [{ role: message.role, content }] : []
}

function readLimits({ stop, max_completion_tokens, max_tokens }: CompletionBody): Limits {
  const stopSequences = [stop].flat().filter((sequence) => typeof sequence === 'string' && sequence !== '')
  const maxTokens = Number(max_completion_tokens ?? max_tokens ?? Number.POSITIVE_INFINITY)
  return { stopSequences: stopSequences.map(String), maxLength: maxTokens * charactersPerToken }
}

function assertSupported({ messages, n, response_format: format, tool_choice: tool }: CompletionBody): void {
  const refuse = (param: string, what: string) => {
    throw new UnsupportedParameterError(param, `The offline model ${what}; set CHAT_MODEL to use a language model.`)
  }
  if (n !== undefined && n !== null && n !== 1) refuse('n', 'gives one choice: leave `n` out')
  if (isObject(format) && format.type !== 'text') refuse('response_format', 'answers in plain text: leave it out')
  if (tool === 'required' || isObject(tool)) refuse('tool_choice', 'calls no tools: leave it out, or `auto`')
  for (const [index, { content }] of messages.entries()) {
    const isText = !Array.isArray(content) || content.every(({ type }) => type === 'text' || type === 'refusal')
    if (!isText) refuse(`messages[${index}].content`, 'reads text alone: leave other parts out')
  }
}
