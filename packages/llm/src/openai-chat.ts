import { readFinishReason, toFinishReason } from './finish-reason.ts'
import { type Decoder, readBatches } from './http/batches.ts'
import type { HttpAnswer } from './http/http-call.ts'
import type { HttpClient } from './http/http-client.ts'
import type { SseEvent } from './http/sse-parser.ts'
import { isObject, parseJson } from './json.ts'
import type { AnswerEvent, ChatMessage, ChatProvider, ChatRequest, FinishReason, Usage } from './llm.ts'
import { LlmError } from './llm.ts'
import { readPlainDelta } from './plain-delta.ts'
import { type ResponseInfo, readResponseInfo } from './response-info.ts'
import { isRefusal, type TokenLimit } from './token-limit.ts'
import { createToolCallReader } from './tool-calls.ts'
import { readUsage } from './usage.ts'
import { readVendorError } from './vendor-error.ts'

/** How the answer ends, according to the events so far. */
type Ending = {
  isDone: boolean
  hasRefused?: boolean
  finishReason?: FinishReason
  usage?: Usage
  response?: ResponseInfo | undefined
  calls: ToolCallReader
}
type ToolCallReader = ReturnType<typeof createToolCallReader>

/**
 * Creates a streaming chat model that uses `POST /chat/completions`. One dialect serves OpenAI, Ollama, vLLM, Groq,
 * Mistral, Gemini, DeepSeek, OpenRouter and Anthropic's compatible endpoint; `fixtures/` shows the differences. `limit`
 * is sent with each request.
 */
export function createOpenAiChat(http: HttpClient, model: string, limit?: TokenLimit): ChatProvider {
  let attempts: OptionalFields[] = limit ? [usageAndLimit, limitAlone, usageAlone, noFields] : [usageAlone, noFields]

  /**
   * Mistral and others reject unknown fields, and vLLM rejects a limit above its context. The request is sent
   * again without them.
   */
  const open = async (request: ChatRequest, [fields = noFields, ...others] = attempts): Promise<HttpAnswer> => {
    const { signal } = request
    const body = { model, ...(await toBody(request)), stream: true, ...toParameters(fields, limit) }
    try {
      const answer = await http.post('/chat/completions', body, signal)
      attempts = fields.limit ? [fields, { ...fields, limit: false }] : [fields]
      return answer
    } catch (error) {
      if (others.length === 0 || !isRefusal(error)) throw error
      return open(request, others)
    }
  }

  return {
    name: model,
    stream: async (request) => readBatches(await open(request), createAnswerDecoder(), request.signal),
  }
}

/** Optional fields of a request. */
type OptionalFields = { usage: boolean; limit: boolean }

const usageAndLimit: OptionalFields = { usage: true, limit: true }
const limitAlone: OptionalFields = { usage: false, limit: true }
const usageAlone: OptionalFields = { usage: true, limit: false }
const noFields: OptionalFields = { usage: false, limit: false }

function toParameters({ usage, limit: isLimited }: OptionalFields, limit: TokenLimit | undefined): object {
  return {
    ...(usage && { stream_options: { include_usage: true } }),
    ...(isLimited && limit && { [limit.name]: limit.tokens }),
  }
}

async function toBody({ messages, tools = [], mustAnswer }: ChatRequest): Promise<object> {
  const functions = tools.map((tool) => ({ type: 'function', function: tool }))
  return {
    messages: messages.some((message) => 'images' in message) ? await writeImages(messages) : messages.map(toWire),
    ...(functions.length > 0 && { tools: functions }), // also when none may be called: the messages contain calls
    ...(functions.length > 0 && mustAnswer && { tool_choice: 'none' }),
  }
}

/** Reads one image after the other, so that a prompt with many does not use several database connections. */
async function writeImages(messages: ChatMessage[]): Promise<object[]> {
  const written: object[] = []
  for (const message of messages) {
    const images = message.role === 'user' ? (message.images ?? []) : []
    const urls: string[] = []
    for (const image of images) urls.push(await image())
    written.push(urls.length > 0 ? { role: 'user', content: toContentParts(urls, message.content) } : toWire(message))
  }
  return written
}

/** Images come before the text, as `useChat` sends them and as vendors recommend. */
function toContentParts(urls: string[], text: string): object[] {
  const images = urls.map((url) => ({ type: 'image_url', image_url: { url } }))
  return text === '' ? images : [...images, { type: 'text', text }]
}

function toWire(message: ChatMessage): object {
  if (message.role === 'tool') return { role: 'tool', tool_call_id: message.toolCallId, content: message.content }
  if (message.role !== 'assistant' || !message.toolCalls) return message
  const calls = message.toolCalls.map(({ toolCallId, toolName, input }) => ({
    id: toolCallId,
    type: 'function',
    function: { name: toolName, arguments: input },
  }))
  return { role: 'assistant', content: message.content || null, tool_calls: calls }
}

/**
 * Creates a reader of the chunks of one completion, or of a whole one. An answer is complete after its finish_reason. Only
 * the usage may follow.
 */
export function createAnswerDecoder(): Decoder<AnswerEvent> {
  const ending: Ending = { isDone: false, calls: createToolCallReader() }
  return {
    readEvent: (event, parts) => readEvent(event, ending, parts),
    progress: () => {
      if (ending.isDone) return 'done'
      return ending.finishReason ? 'whole' : 'running'
    },
    readEnd: () => {
      const { usage, response } = ending
      const reason = ending.hasRefused ? 'content-filter' : (ending.finishReason ?? 'other') // OpenAI says `stop`
      const calls = ending.calls.end(reason === 'length')
      const finishReason = calls.length > 0 ? 'tool-calls' : reason // some servers say `stop`
      return [...calls, { type: 'finish', finishReason, ...(usage && { usage }), ...(response && { response }) }]
    },
  }
}

/** Appends the content of one event to `parts` and records in `ending` how the answer ends. Throws an `LlmError`. */
function readEvent({ name, data }: SseEvent, ending: Ending, parts: AnswerEvent[]): void {
  const plain = name === '' ? readPlainDelta(data) : undefined
  if (plain) {
    parts.push({ type: 'text-delta', text: plain })
    return
  }
  if (data.trim() === '[DONE]') {
    ending.isDone = true
    ending.finishReason ??= 'other'
    return
  }
  const chunk = parseJson(data) ?? data
  const failure = readVendorError(chunk, name)
  if (failure) throw failure
  if (!isObject(chunk)) throw new LlmError('model_protocol', 'the model sent an event that is not a JSON object')
  const usage = readUsage(chunk)
  if (usage) ending.usage = usage
  const choice: unknown = Array.isArray(chunk.choices) ? chunk.choices[0] : undefined
  if (!isObject(choice)) return
  const reason = readFinishReason(choice.finish_reason)
  if (reason) ending.finishReason = toFinishReason(reason)
  else if (chunk.object === 'chat.completion') ending.finishReason ??= 'other'
  if (ending.finishReason) ending.response ??= readResponseInfo(chunk)
  readDelta(choice.delta ?? choice.message, ending, parts)
}

function readDelta(delta: unknown, ending: Ending, parts: AnswerEvent[]): void {
  if (!isObject(delta)) return
  // A server that is migrating between the two field names sends both, with the same text.
  addText(parts, 'reasoning-delta', delta.reasoning ?? delta.reasoning_content)
  addText(parts, 'text-delta', delta.content)
  addText(parts, 'text-delta', delta.refusal)
  if (delta.refusal) ending.hasRefused = true
  ending.calls.read(delta, parts)
}

/** `content` is a text, or the list of typed parts that Mistral's reasoning models send. */
function addText(parts: AnswerEvent[], type: 'text-delta' | 'reasoning-delta', content: unknown): void {
  if (typeof content === 'string' && content !== '') parts.push({ type, text: content })
  if (!Array.isArray(content)) return
  for (const item of content) {
    if (!isObject(item)) continue
    if (item.type === 'thinking') addText(parts, 'reasoning-delta', item.thinking)
    else addText(parts, type, item.text)
  }
}
