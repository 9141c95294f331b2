import { setTimeout as sleep } from 'node:timers/promises'
import type { HttpAnswer } from './http-call.ts'
import { readText } from './http-call.ts'
import type { HttpClient } from './http-client.ts'
import { isObject, parseJson } from './json.ts'
import type { AnswerEvent, ChatModel, ChatRequest, FinishReason, Usage } from './llm.ts'
import { LlmError } from './llm.ts'
import type { SseEvent } from './sse-parser.ts'
import { createSseParser } from './sse-parser.ts'
import { readVendorError } from './vendor-error.ts'

const lastEventsTimeoutMs = 5000 // they come with the finish_reason or a packet later; some say `stop` before the end

/** How the answer ends, as far as the events so far have said. */
type Outcome = { isDone: boolean; finishReason?: FinishReason; usage?: Usage }

const finishReasons = new Map<unknown, FinishReason>([
  ['stop', 'stop'],
  ['length', 'length'],
  ['model_length', 'length'], // Mistral: the context is full
  ['content_filter', 'content-filter'],
  ['tool_calls', 'tool-calls'],
  ['function_call', 'tool-calls'],
])

/** So OpenRouter, DeepSeek and vLLM end an answer that broke off on their side. */
const failureReasons: unknown[] = ['error', 'insufficient_system_resource', 'abort']

/**
 * Chat over `POST /chat/completions`, streamed. One dialect serves OpenAI, Ollama, vLLM, Groq, Mistral, Gemini,
 * DeepSeek, OpenRouter and Anthropic's compatible endpoint; `fixtures/` shows how they differ.
 */
export function createOpenAiChat(http: HttpClient, model: string): ChatModel {
  let usageOption: object = { stream_options: { include_usage: true } }
  let isUsageSettled = false

  const open = async ({ messages, signal }: ChatRequest) => {
    const body = { model, messages, stream: true }
    try {
      return await http.post('/chat/completions', { ...body, ...usageOption }, signal)
    } catch (error) {
      // Mistral and others refuse a field they do not know. Usage is worth asking for, not worth failing for.
      const isRefusal = error instanceof LlmError && (error.status === 400 || error.status === 422)
      if (isUsageSettled || !isRefusal) throw error
      const answer = await http.post('/chat/completions', body, signal)
      usageOption = {}
      return answer
    }
  }

  return {
    name: model,
    stream: async (request) => {
      const answer = await open(request)
      isUsageSettled = true
      const events = readAnswer(answer, request.signal)
      return {
        [Symbol.asyncIterator]: () => ({
          next: () => events.next(),
          return: () => {
            // A generator's own `return` waits for a pending `next`, and before the first one it skips `finally`.
            answer.destroy()
            return events.return(undefined)
          },
        }),
      }
    },
  }
}

async function* readAnswer(answer: HttpAnswer, signal: AbortSignal): AsyncGenerator<AnswerEvent[], undefined> {
  const outcome: Outcome = { isDone: false }
  const parser = createSseParser()
  try {
    if (answer.contentType.includes('json')) {
      // A server that cannot stream answers with one completion, or with an error under 200.
      yield readEvent({ name: '', data: await readText(answer) }, outcome)
      outcome.isDone = true
    }
    while (!outcome.isDone) {
      const bytes = await (outcome.finishReason ? readLast(answer) : answer.read())
      if (!bytes && outcome.finishReason) break
      const events = bytes ? parser.push(bytes) : parser.end()
      if (events.length > 0) answer.markStarted()
      const { parts, failure } = readEvents(events, outcome)
      if (parts.length > 0) yield parts
      signal.throwIfAborted()
      if (failure) throw failure.error
      if (!bytes) break
    }
    if (!outcome.finishReason) throw new LlmError('model_protocol', 'the answer was cut short')
    answer.drain()
    yield [{ type: 'finish', finishReason: outcome.finishReason, ...(outcome.usage && { usage: outcome.usage }) }]
  } finally {
    answer.destroy()
  }
}

/**
 * An answer is whole once its finish_reason has come: only its usage may follow, and is not waited for long. A connection
 * that breaks before `[DONE]` takes nothing from it.
 */
function readLast(answer: HttpAnswer): Promise<Buffer | null> {
  return Promise.race([answer.read().catch(ignoreBreak), sleep(lastEventsTimeoutMs, null, { ref: false })])
}

function ignoreBreak(error: unknown): null {
  if (error instanceof LlmError) return null
  throw error
}

/** What came before a failure is kept. */
function readEvents(events: SseEvent[], outcome: Outcome): { parts: AnswerEvent[]; failure?: { error: unknown } } {
  const parts: AnswerEvent[] = []
  try {
    for (const event of events) parts.push(...readEvent(event, outcome))
    return { parts }
  } catch (error) {
    return { parts, failure: { error } }
  }
}

/** What one event adds to the answer; how the answer ends is noted in `outcome`. Throws an `LlmError`. */
function readEvent({ name, data }: SseEvent, outcome: Outcome): AnswerEvent[] {
  if (outcome.isDone) return []
  if (data === '[DONE]') {
    outcome.isDone = true
    outcome.finishReason ??= 'other'
    return []
  }
  const chunk = parseJson(data)
  const failure = readVendorError(chunk, name)
  if (failure) throw failure
  if (!isObject(chunk)) throw new LlmError('model_protocol', 'the model sent an event that is not a JSON object')
  if (isObject(chunk.usage)) outcome.usage = readUsage(chunk.usage)
  const choice: unknown = Array.isArray(chunk.choices) ? chunk.choices[0] : undefined
  if (!isObject(choice)) return []
  if (failureReasons.includes(choice.finish_reason))
    throw new LlmError('model_failed', 'the model broke off its answer')
  if (typeof choice.finish_reason === 'string')
    outcome.finishReason = finishReasons.get(choice.finish_reason) ?? 'other'
  return readDelta(choice.delta ?? choice.message)
}

function readDelta(delta: unknown): AnswerEvent[] {
  const parts: AnswerEvent[] = []
  if (!isObject(delta)) return parts
  // A server on its way from one name to the other sends both, with the same text.
  addText(parts, 'reasoning-delta', delta.reasoning ?? delta.reasoning_content)
  addText(parts, 'text-delta', delta.content)
  return parts
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

function readUsage({ prompt_tokens: inputTokens, completion_tokens: outputTokens }: Record<string, unknown>) {
  return typeof inputTokens === 'number' && typeof outputTokens === 'number' ? { inputTokens, outputTokens } : undefined
}
