import { type Decoder, maxWholeBytes, readBatches } from './http/batches.ts'
import { readText } from './http/http-call.ts'
import type { HttpClient } from './http/http-client.ts'
import type { SseEvent } from './http/sse-parser.ts'
import { isObject, parseJson } from './json.ts'
import { LlmError } from './llm.ts'
import { asksForUsage, type CompletionBody, type CompletionModel, type CompletionRequest } from './openai-api.ts'
import { isRefusal, lowerTokenLimits, type TokenLimit } from './token-limit.ts'
import { readVendorError } from './vendor-error.ts'

// A quote inside a text is escaped, so that no text can look like one of these keys.
const endsChoice = /"finish_reason"\s*:\s*"/g
const mayBeError = /"error"/
const hasNoChoices = /"choices"\s*:\s*\[\s*\]/

/**
 * Passes a client's own `POST /chat/completions` on to the model's server: whatever it asks for, tools too, goes there, and
 * chunks come back as they are. Nothing but the first and the last is parsed. `limit` holds where the client set none,
 * or a larger one.
 */
export function createOpenAiCompletions(http: HttpClient, model: string, limit?: TokenLimit): CompletionModel {
  let added = limit && { [limit.name]: limit.tokens }

  const post = async ({ body, signal }: CompletionRequest, stream: boolean) => {
    const send = (more: object = {}) => http.post('/chat/completions', { ...body, ...more, model, stream }, signal)
    const own = limit && lowerTokenLimits(body, limit)
    if (own || !added) return send(own)
    try {
      return await send(added)
    } catch (error) {
      if (!isRefusal(error)) throw error
      const answer = await send() // the client did not ask for the limit: it must not fail for it
      added = undefined
      return answer
    }
  }
  return {
    name: model,
    complete: async (request) => readCompletion(await readText(await post(request, false), maxWholeBytes)),
    stream: async (request) => readBatches(await post(request, true), createDecoder(request.body)),
  }
}

/** An answer is whole once its finish_reasons have come. Each chunk is JSON in one line. */
function createDecoder(body: CompletionBody): Decoder<string> {
  const wantsUsage = asksForUsage(body)
  let choicesLeft = Number(body.n ?? 1) // have not told their finish_reason
  let isDone = false
  return {
    readEvent: (event, chunks) => {
      if (event.data === '[DONE]') {
        isDone = true
        return
      }
      const failure = readFailure(event)
      if (failure) throw failure
      choicesLeft -= event.data.match(endsChoice)?.length ?? 0
      // An event of several lines is JSON with breaks between its tokens.
      if (isWanted(event.data, wantsUsage)) chunks.push(event.data.replaceAll('\n', ' '))
    },
    readWhole: (json, chunks) => {
      chunks.push(...toChunks(readCompletion(json), wantsUsage))
      isDone = true
    },
    progress: () => {
      if (isDone) return 'done'
      return choicesLeft > 0 ? 'running' : 'whole'
    },
    readEnd: () => [],
  }
}

function readFailure({ name, data }: SseEvent): LlmError | undefined {
  if (!data.startsWith('{') || !data.trimEnd().endsWith('}')) {
    return new LlmError('model_protocol', 'the model sent an event that is not a JSON object')
  }
  return name === 'error' || mayBeError.test(data) ? readVendorError(parseJson(data), name) : undefined
}

/** Naive clients break at a chunk without choices that they did not ask for; Azure begins with one. */
function isWanted(data: string, wantsUsage: boolean): boolean {
  if (!hasNoChoices.test(data)) return true
  const chunk = parseJson(data)
  if (!isObject(chunk) || !Array.isArray(chunk.choices) || chunk.choices.length > 0) return true
  return wantsUsage && isObject(chunk.usage)
}

function readCompletion(text: string): Record<string, unknown> {
  const completion = parseJson(text)
  const failure = readVendorError(completion)
  if (failure) throw failure
  if (!isObject(completion) || !Array.isArray(completion.choices)) {
    throw new LlmError('model_protocol', 'the model’s answer is no completion')
  }
  return completion
}

/** A whole completion as the one chunk of a stream, and its usage as another where that is wanted. */
function toChunks({ choices, usage, ...completion }: Record<string, unknown>, wantsUsage: boolean): string[] {
  const start = { ...completion, object: 'chat.completion.chunk' }
  const messages: unknown[] = Array.isArray(choices) ? choices : []
  const deltas = messages.filter(isObject).map(({ message, ...choice }) => ({ ...choice, delta: toDelta(message) }))
  const chunks = [{ ...start, choices: deltas }, ...(wantsUsage && usage ? [{ ...start, choices: [], usage }] : [])]
  return chunks.map((chunk) => JSON.stringify(chunk))
}

/** In a stream, each tool call says which one it is. */
function toDelta(message: unknown): unknown {
  if (!isObject(message) || !Array.isArray(message.tool_calls)) return message
  return { ...message, tool_calls: message.tool_calls.map((call, index) => ({ index, ...call })) }
}
