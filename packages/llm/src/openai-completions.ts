import type { HttpAnswer } from './http-call.ts'
import { readText } from './http-call.ts'
import type { HttpClient } from './http-client.ts'
import { isObject, parseJson } from './json.ts'
import { LlmError } from './llm.ts'
import { asksForUsage, type CompletionModel, type CompletionRequest } from './openai-api.ts'
import { createSseParser, type SseEvent } from './sse-parser.ts'
import { readVendorError } from './vendor-error.ts'

// A quote inside a text is escaped, so that no text can look like one of these keys.
const endsChoice = /"finish_reason"\s*:\s*"/
const mayBeError = /"error"/
const hasNoChoices = /"choices"\s*:\s*\[\s*\]/

type Progress = { wantsUsage: boolean; isFinished: boolean; isDone: boolean }
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
    stream: async (request) => readChunks(await post(request, true), asksForUsage(request.body)),
  }
}

async function* readChunks(answer: HttpAnswer, wantsUsage: boolean): AsyncGenerator<string[], undefined> {
  const progress: Progress = { wantsUsage, isFinished: false, isDone: false }
  const parser = createSseParser()
  try {
    if (answer.contentType.includes('json')) {
      // A server that cannot stream answers with one completion, or with an error under 200.
      yield [JSON.stringify(toChunk(readCompletion(await readText(answer))))]
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
    if (!progress.isDone && !progress.isFinished) throw new LlmError('model_protocol', 'the answer was cut short')
    answer.drain()
  } finally {
    answer.destroy()
  }
}

/** An answer is whole once its finish_reason has come: a connection that breaks after that takes nothing from it. */
async function readNext(answer: HttpAnswer, { isFinished }: Progress): Promise<Buffer | null> {
  try {
    return await answer.read()
  } catch (error) {
    if (isFinished && error instanceof LlmError) return null
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
    if (endsChoice.test(event.data)) progress.isFinished = true
    if (isWanted(event.data, progress)) chunks.push(event.data)
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
  return wantsUsage && isObject(chunk) && isObject(chunk.usage)
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

function toChunk(completion: Record<string, unknown>): Record<string, unknown> {
  const choices: unknown[] = Array.isArray(completion.choices) ? completion.choices : []
  const deltas = choices.filter(isObject).map(({ message, ...choice }) => ({ ...choice, delta: message }))
  return { ...completion, object: 'chat.completion.chunk', choices: deltas }
}
