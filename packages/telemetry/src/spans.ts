import { type Attributes, context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { Store } from '@repo/db'
import { type FinishReason, LlmError, type ResponseInfo, type Usage } from '@repo/llm'
import { cutText, toConventional, writeValue } from './content.ts'
import type { MeasuredAnswer, TraceWork } from './measured-answer.ts'

const tracer = trace.getTracer('sluice')

type SpanDescription = { name: string; attributes: Attributes; kind?: SpanKind }

/** What a model server has reported of its response. */
type ModelResponse = {
  usage?: Usage | undefined
  finishReasons?: FinishReason[]
  response?: ResponseInfo | undefined
}

/** Adds what is known of a response to the span of its call. */
export function recordResponse(span: Span, { usage, finishReasons = [], response }: ModelResponse): void {
  if (finishReasons.length > 0) span.setAttribute('gen_ai.response.finish_reasons', finishReasons.map(toConventional))
  if (response?.model) span.setAttribute('gen_ai.response.model', response.model)
  if (response?.id) span.setAttribute('gen_ai.response.id', response.id)
  if (!usage) return
  const { inputTokens, outputTokens, cachedInputTokens, reasoningTokens } = usage
  span.setAttributes({
    'gen_ai.usage.input_tokens': inputTokens,
    'gen_ai.usage.output_tokens': outputTokens,
    ...(cachedInputTokens !== undefined && { 'gen_ai.usage.cache_read.input_tokens': cachedInputTokens }),
    ...(reasoningTokens !== undefined && { 'gen_ai.usage.reasoning.output_tokens': reasoningTokens }),
  })
}

/**
 * Adds a span to each query of the store that is part of a trace, named like `passages.search`. It includes the wait for
 * a connection.
 */
export function traceStore(store: Store): Store {
  return wrapValues(store, (part, queries) =>
    wrapValues<Record<string, Query>>(queries, (name, query) => traceQuery(`${part}.${name}`, query)),
  )
}

/**
 * Returns a function that runs work in a span: `retrieval` of documents, or `execute_tool` with the tool's name. See
 * https://opentelemetry.io/docs/specs/semconv/gen-ai/. `hasContent`: with the question, or with the tool's input and output.
 */
export function createWorkTracer(hasContent: boolean): TraceWork {
  return (operation, target, run, input) => {
    const isTool = operation === 'execute_tool'
    const attributes = {
      'gen_ai.operation.name': operation,
      [isTool ? 'gen_ai.tool.name' : 'gen_ai.data_source.id']: target,
      ...(hasContent && isTool && { 'gen_ai.tool.call.arguments': writeValue(input) }),
      ...(hasContent && !isTool && { 'gen_ai.retrieval.query.text': cutText(String(input)) }),
    }
    return traceCall({ name: `${operation} ${target}`, attributes, kind: SpanKind.INTERNAL }, run, (output, span) => {
      if (hasContent && isTool) span.setAttribute('gen_ai.tool.call.result', writeValue(output))
    })
  }
}

/**
 * Records the stream as its own span, from the first delta to the end of the answer, because the request may end much
 * earlier. The span is created when the answer ends, so deltas cost nothing.
 */
export function traceAnswer(answer: MeasuredAnswer): void {
  const parent = context.active()
  void answer.ended.then(() => {
    const { end, startedAt, firstDeltaAt, deltas } = answer
    const span = tracer.startSpan('stream', { startTime: firstDeltaAt ?? performance.now() }, parent)
    span.setAttributes({ 'sluice.deltas': deltas, 'sluice.status': end?.status })
    if (firstDeltaAt !== undefined) span.setAttribute('sluice.first_token_ms', Math.round(firstDeltaAt - startedAt))
    if (end?.status === 'failed') span.setStatus({ code: SpanStatusCode.ERROR })
    span.end()
  })
}

type Query = (...args: never[]) => unknown

/** Background work, which is in no trace, gets no span. Nor do generators, which last as long as their reader likes. */
function traceQuery(name: string, query: Query): Query {
  const attributes = { 'db.system.name': 'postgresql', 'db.operation.name': name }
  return (...args) => {
    const result = query(...args)
    const isStream = Symbol.asyncIterator in Object(result)
    return isStream || !trace.getActiveSpan() ? result : traceCall({ name, attributes }, async () => result)
  }
}

/** Returns an object with the same values, each replaced by `wrap` when it is read. */
function wrapValues<T extends object>(object: T, wrap: (name: string, value: T[keyof T]) => unknown): T {
  const read = (target: T, name: string | symbol) => {
    const value = Reflect.get(target, name)
    return value ? wrap(String(name), value) : value
  }
  return new Proxy(object, { get: read })
}

/** Runs work in a span. `record` adds what its result says. */
export async function traceCall<T>(
  { name, attributes, kind = SpanKind.CLIENT }: SpanDescription,
  work: () => Promise<T>,
  record?: (result: T, span: Span) => void,
): Promise<T> {
  const span = tracer.startSpan(name, { kind, attributes })
  try {
    const result = await context.with(trace.setSpan(context.active(), span), work)
    record?.(result, span)
    endSpan(span)
    return result
  } catch (error) {
    endSpan(span, error)
    throw error
  }
}

/** Adds to a span what the events of a stream say, and what is known when it has ended, however it ended. */
export type StreamRecorder<T> = { record: (event: T, span: Span) => void; end: (span: Span) => void }

/** Opens a model's stream in a span, which ends with the stream. */
export async function traceStream<T>(
  { name, attributes }: SpanDescription,
  open: () => Promise<AsyncIterable<T>>,
  recorder: StreamRecorder<T>,
): Promise<AsyncIterable<T>> {
  const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes })
  try {
    return endAfter(await context.with(trace.setSpan(context.active(), span), open), span, recorder)
  } catch (error) {
    endSpan(span, error)
    throw error
  }
}

async function* endAfter<T>(
  events: AsyncIterable<T>,
  span: Span,
  { record, end }: StreamRecorder<T>,
): AsyncGenerator<T> {
  let failure: unknown
  try {
    for await (const event of events) {
      record(event, span)
      yield event
    }
  } catch (error) {
    failure = error
    throw error
  } finally {
    end(span)
    endSpan(span, failure)
  }
}

/** Describes the span of a model call. */
export function describeModelCall(operation: string, model: string, content?: Attributes): SpanDescription {
  const attributes = {
    ...content,
    'gen_ai.operation.name': operation,
    'gen_ai.provider.name': model.startsWith('offline') ? 'sluice' : 'openai', // the API's, not the server's
    'gen_ai.request.model': model,
  }
  return { name: `${operation} ${model}`, attributes }
}

/** Ends the span. A stopped or drained answer is not an error. */
function endSpan(span: Span, error?: unknown): void {
  if (error instanceof Error) span.setAttribute('error.type', error instanceof LlmError ? error.code : error.name)
  if (error !== undefined && !isStop(error)) span.setStatus({ code: SpanStatusCode.ERROR })
  span.end()
}

function isStop(error: unknown): boolean {
  return error instanceof Error && error.name === 'AnswerEndedError'
}
