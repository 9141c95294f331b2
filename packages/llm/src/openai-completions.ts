import type { HttpAnswer } from './http-call.ts'
import { readText } from './http-call.ts'
import type { HttpClient } from './http-client.ts'
import { isObject, parseJson } from './json.ts'
import { LlmError } from './llm.ts'
import { asksForUsage, type CompletionBody, type CompletionModel, type CompletionRequest } from './openai-api.ts'
import { createSseParser, type SseEvent } from './sse-parser.ts'
import { readVendorError } from './vendor-error.ts'

// A quote inside a text is escaped, so that no text can look like one of these keys.
const endsChoice = /"finish_reason"\s*:\s*"/g
const mayBeError = /"error"/
const hasNoChoices = /"choices"\s*:\s*\[\s*\]/

/** `choicesLeft` have not told their finish_reason. */
type Progress = { wantsUsage: boolean; choicesLeft: number; isDone: boolean }
type Batch = { chunks: string[]; failure?: LlmError }

/**
 * Passes a client's own `POST /chat/completions` on to the model's server: whatever it asks for, tools too, goes there, and
 * chunks come back as they are. Nothing but the first and the last of them is parsed.
 */
export function createOpenAiCompletions(http: HttpClient, model: string): CompletionModel {
  const post = ({ body, signal }: CompletionRequest, stream: boolean) =>
    http.post('/chat/completions', { ...body, model, stream }, signal)
  return {
    name: model,
    complete: async (request) => readCompletion(await readText(await post(request, false))),
    stream: async (request) => readChunks(await post(request, true), request.body),
  }
}

async function* readChunks(answer: HttpAnswer, body: CompletionBody): AsyncGenerator<string[], undefined> {
  const wantsUsage = asksForUsage(body)
  const progress: Progress = { wantsUsage, choicesLeft: Number(body.n ?? 1), isDone: false }
  const parser = createSseParser()
  try {
    if (answer.contentType.includes('json')) {
      // A server that cannot stream answers with one completion, or with an error under 200.
      yield toChunks(readCompletion(await readText(answer)), wantsUsage)
      return
    }
    while (!progress.isDone) {
      const bytes = await readNext(answer, progress)
      const events = bytes ? parser.push(bytes) : parser.end()
      if (events.length > 0) answer.markStarted()
      const { chunks, failure } = readEvents(events, progress)
      if (chunks.length > 0) yield chunks
      if (failure) throw failure
      if (!bytes) break
    }
    if (!progress.isDone && progress.choicesLeft > 0) throw new LlmError('model_protocol', 'the answer was cut short')
    answer.drain()
  } finally {
    answer.destroy()
  }
}

/** An answer is whole once its finish_reasons have come: a connection that breaks after that takes nothing from it. */
async function readNext(answer: HttpAnswer, { choicesLeft }: Progress): Promise<Buffer | null> {
  try {
    return await answer.read()
  } catch (error) {
    if (choicesLeft <= 0 && error instanceof LlmError) return null
    throw error
  }
}

/** What came before a failure is kept. */
function readEvents(events: SseEvent[], progress: Progress): Batch {
  const chunks: string[] = []
  for (const event of events) {
    if (event.data === '[DONE]') progress.isDone = true
    if (progress.isDone) break
    const failure = readFailure(event)
    if (failure) return { chunks, failure }
    progress.choicesLeft -= event.data.match(endsChoice)?.length ?? 0
    // An event of several lines is JSON with breaks between its tokens.
    if (isWanted(event.data, progress)) chunks.push(event.data.replaceAll('\n', ' '))
  }
  return { chunks }
}

function readFailure({ name, data }: SseEvent): LlmError | undefined {
  if (!data.startsWith('{') || !data.trimEnd().endsWith('}')) {
    return new LlmError('model_protocol', 'the model sent an event that is not a JSON object')
  }
  return name === 'error' || mayBeError.test(data) ? readVendorError(parseJson(data), name) : undefined
}

/** Naive clients break at a chunk without choices that they did not ask for; Azure begins with one. */
function isWanted(data: string, { wantsUsage }: Progress): boolean {
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
