import { readFinishReason } from './finish-reason.ts'
import { type Decoder, readBatches } from './http/batches.ts'
import { readText } from './http/http-call.ts'
import type { HttpClient } from './http/http-client.ts'
import { maxEventLength } from './http/sse-parser.ts'
import { isObject, parseJson } from './json.ts'
import { LlmError, type OnUsage } from './llm.ts'
import {
  asksForUsage,
  type CompletionProvider,
  type CompletionRequest,
  UnsupportedParameterError,
} from './openai-api.ts'
import { createFormatError } from './response-kind.ts'
import { isRefusal, lowerTokenLimits, type TokenLimit } from './token-limit.ts'
import { readUsage } from './usage.ts'
import { readVendorError } from './vendor-error.ts'

// Quotes inside a text are escaped, so no text can be mistaken for one of these keys.
const endsChoice = /"finish_reason"\s*:\s*"/
const finishReasons = /("finish_reason"\s*:\s*)"([^"\\]*)"/g
const mayBeError = /"error"/
const hasChoices = /"choices"\s*:\s*\[\s*[^\s\]]/

/**
 * Forwards a client's own `POST /chat/completions` to the model's server, including tools. Chunks are returned
 * unchanged, except that reasons are in OpenAI's terms. Only the first chunk, chunks without choices and possible errors
 * are parsed. `limit` applies when the client set none or a larger one.
 */
export function createOpenAiCompletions(http: HttpClient, model: string, limit?: TokenLimit): CompletionProvider {
  const refuses = { limit: false, usage: false } // as far as it is known

  /** The client did not ask for our fields, so they must not cause an error. */
  const send = async (body: object, signal: AbortSignal, { limits, usage }: { limits?: object; usage?: object }) => {
    try {
      return await http.post('/chat/completions', { ...body, ...limits, ...usage }, signal)
    } catch (error) {
      if (!(limits || usage) || !isRefusal(error)) throw error
      const answer = await http.post('/chat/completions', body, signal)
      // If both were sent, the next request finds out whether it was the limit.
      if (limits) refuses.limit = true
      else Object.assign(refuses, { usage: true, limit: false })
      return answer
    }
  }
  const post = ({ body, signal, onUsage }: CompletionRequest, stream: boolean) => {
    const own = limit && lowerTokenLimits(body, limit)
    const mayAsk = stream && onUsage && !asksForUsage(body) && !refuses.usage
    const options = { ...Object(body.stream_options), include_usage: true }
    const ours = {
      ...(limit && !own && !refuses.limit && { limits: { [limit.name]: limit.tokens } }),
      ...(mayAsk && { usage: { stream_options: options } }),
    }
    return send({ ...body, ...own, model, stream }, signal, ours)
  }
  return {
    name: model,
    complete: async (request) => readCompletion(await readText(await post(request, false), maxEventLength)),
    stream: async (request) => readBatches(await post(request, true), createDecoder(request)),
  }
}

/** Stands for a model with another API, which cannot receive a client's own body. Each call rejects. */
export function rejectCompletions(name: string): CompletionProvider {
  const reject = async () => {
    throw new UnsupportedParameterError('model', `${name} cannot be used here. Use POST /chat, or another model.`)
  }
  return { name, complete: reject, stream: reject }
}

/** An answer is complete after its finish_reasons. Each chunk is one line of JSON. */
function createDecoder({ body, onUsage }: CompletionRequest): Decoder<string> {
  const wantsUsage = asksForUsage(body)
  let choicesLeft = Number(body.n ?? 1) // those without a finish_reason so far
  let isDone = false
  let isFirst = true
  const toOpenAiReason = (_field: string, name: string, value: string) => {
    const reason = readFinishReason(value)
    if (reason) choicesLeft -= 1
    return `${name}${JSON.stringify(reason ?? null)}`
  }
  return {
    readEvent: (event, chunks) => {
      const data = event.data.trim()
      if (data === '[DONE]') {
        isDone = true
        return
      }
      const failure = readFailure(event.name, data)
      if (failure) throw failure
      const isLast = endsChoice.test(data)
      const chunk = isLast ? data.replace(finishReasons, toOpenAiReason) : data
      if (onUsage && (choicesLeft <= 0 || isLast || !hasChoices.test(data))) reportUsage(data, onUsage)
      const whole = isFirst ? readWhole(chunk) : undefined
      isFirst = false
      if (whole?.object === 'chat.completion') choicesLeft = 0
      if (whole) chunks.push(...toChunks(whole, wantsUsage))
      // An event of several lines is JSON with line breaks between its tokens.
      else if (isWanted(chunk, wantsUsage)) chunks.push(chunk.replaceAll('\n', ' '))
    },
    progress: () => {
      if (isDone) return 'done'
      return choicesLeft > 0 ? 'running' : 'whole'
    },
    readEnd: () => [],
  }
}

function reportUsage(data: string, onUsage: OnUsage): void {
  const chunk = parseJson(data)
  const usage = isObject(chunk) ? readUsage(chunk) : undefined
  if (usage) onUsage(usage)
}

function readFailure(name: string, data: string): LlmError | undefined {
  if (name === 'error' || mayBeError.test(data)) {
    const failure = readVendorError(parseJson(data) ?? data, name)
    if (failure) return failure
  }
  const isJson = data.startsWith('{') && data.endsWith('}')
  return isJson ? undefined : new LlmError('model_protocol', 'the model sent an event that is not a JSON object')
}

/** Naive clients fail on a chunk without choices that they did not request, and Azure sends one first. */
function isWanted(data: string, wantsUsage: boolean): boolean {
  if (hasChoices.test(data)) return true
  const chunk = parseJson(data)
  return wantsUsage && isObject(chunk) && isObject(chunk.usage)
}

/** Returns the completion of a server that does not stream, or undefined for a chunk. */
function readWhole(data: string): Record<string, unknown> | undefined {
  const chunk = parseJson(data)
  const choices: unknown[] = isObject(chunk) && Array.isArray(chunk.choices) ? chunk.choices : []
  return isObject(chunk) && choices.some((choice) => isObject(choice) && choice.message && !choice.delta)
    ? chunk
    : undefined
}

function readCompletion(text: string): Record<string, unknown> {
  const completion = parseJson(text)
  const failure = readVendorError(completion)
  if (failure) throw failure
  if (!isObject(completion) || !Array.isArray(completion.choices)) {
    throw createFormatError(text, 'a chat completion')
  }
  return completion
}

/** Returns a whole completion as the only chunk of a stream, and its usage as another chunk on request. */
function toChunks({ choices, usage, ...completion }: Record<string, unknown>, wantsUsage: boolean): string[] {
  const start = { ...completion, object: 'chat.completion.chunk' }
  const messages: unknown[] = Array.isArray(choices) ? choices : []
  const deltas = messages.filter(isObject).map(({ message, ...choice }) => ({ ...choice, delta: toDelta(message) }))
  const chunks = [{ ...start, choices: deltas }, ...(wantsUsage && usage ? [{ ...start, choices: [], usage }] : [])]
  return chunks.map((chunk) => JSON.stringify(chunk))
}

/** In a stream, each tool call has an index. */
function toDelta(message: unknown): unknown {
  if (!isObject(message) || !Array.isArray(message.tool_calls)) return message
  return { ...message, tool_calls: message.tool_calls.map((call, index) => ({ index, ...call })) }
}
