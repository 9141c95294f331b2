import { context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { Store } from '@repo/db'
import {
  type AnswerEvent,
  type ChatModel,
  type CompletionModel,
  type FinishReason,
  type Llm,
  LlmError,
  type Reranker,
  readUsage,
  type Usage,
} from '@repo/llm'
import type { MeasuredAnswer } from './measured-answer.ts'

const tracer = trace.getTracer('sluice')

type SpanDescription = { name: string; attributes: Record<string, string>; kind?: SpanKind }

/** Adds a span to each model call, named as in https://opentelemetry.io/docs/specs/semconv/gen-ai/. */
export function traceModels({ embedder, reranker, embeddings, chatModels, completionModels, ...llm }: Llm): Llm {
  return {
    ...llm,
    chat: traceChat(llm.chat),
    embedder: {
      ...embedder,
      embed: (...args) => traceCall(describeModelCall('embeddings', embedder.name), () => embedder.embed(...args)),
      embedQuery: (...args) =>
        traceCall(describeModelCall('embeddings', embedder.name), () => embedder.embedQuery(...args)),
    },
    reranker: reranker && traceReranker(reranker),
    completions: traceCompletions(llm.completions),
    embeddings: {
      ...embeddings,
      create: (body, signal) =>
        traceCall(describeModelCall('embeddings', embeddings.name), () => embeddings.create(body, signal)),
    },
    chatModels: new Map(chatModels.entries().map(([name, model]) => [name, traceChat(model)])),
    completionModels: new Map(completionModels.entries().map(([name, model]) => [name, traceCompletions(model)])),
  }
}

function traceReranker(reranker: Reranker): Reranker {
  const description = describeModelCall('rerank', reranker.name)
  return { ...reranker, rerank: (...args) => traceCall(description, () => reranker.rerank(...args)) }
}

function traceChat(model: ChatModel): ChatModel {
  return {
    ...model,
    stream: (request) => traceStream(describeModelCall('chat', model.name), () => model.stream(request), recordFinish),
  }
}

function traceCompletions(model: CompletionModel): CompletionModel {
  const description = describeModelCall('chat', model.name)
  return {
    ...model,
    complete: (request) =>
      traceCall(
        description,
        () => model.complete(request),
        (completion, span) => recordUsage(span, readUsage(completion)),
      ),
    stream: (request) => traceStream(description, () => model.stream(request), recordChunks),
  }
}

function recordFinish(events: AnswerEvent[], span: Span): void {
  const finish = events.at(-1)
  if (finish?.type === 'finish') recordUsage(span, finish.usage, finish.finishReason)
}

/** Chunks with usage come last, and without choices. */
function recordChunks(chunks: string[], span: Span): void {
  const last = chunks.findLast((chunk) => chunk.includes('"usage":{'))
  if (last) recordUsage(span, readUsage(JSON.parse(last)))
}

function recordUsage(span: Span, usage: Usage | undefined, finishReason?: FinishReason): void {
  if (finishReason) span.setAttribute('gen_ai.response.finish_reasons', [finishReason])
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
 * Runs work in a span: `retrieval` of documents, or `execute_tool` with the tool's name. See
 * https://opentelemetry.io/docs/specs/semconv/gen-ai/.
 */
export function traceWork<T>(
  operation: 'retrieval' | 'execute_tool',
  target: string,
  run: () => Promise<T>,
): Promise<T> {
  const key = operation === 'retrieval' ? 'gen_ai.data_source.id' : 'gen_ai.tool.name'
  const attributes = { 'gen_ai.operation.name': operation, [key]: target }
  return traceCall({ name: `${operation} ${target}`, attributes, kind: SpanKind.INTERNAL }, run)
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

async function traceCall<T>(
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

/** Ends the span when the model's stream ends. */
async function traceStream<T>(
  { name, attributes }: SpanDescription,
  open: () => Promise<AsyncIterable<T>>,
  record: (event: T, span: Span) => void,
): Promise<AsyncIterable<T>> {
  const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes })
  try {
    return endAfter(await context.with(trace.setSpan(context.active(), span), open), span, record)
  } catch (error) {
    endSpan(span, error)
    throw error
  }
}

async function* endAfter<T>(
  events: AsyncIterable<T>,
  span: Span,
  record: (event: T, span: Span) => void,
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
    endSpan(span, failure)
  }
}

function describeModelCall(operation: string, model: string): SpanDescription {
  const attributes = {
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
