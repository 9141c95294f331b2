import { context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { Store } from '@repo/db'
import { type ChatModel, type CompletionModel, type Llm, LlmError, type Reranker } from '@repo/llm'
import type { MeasuredAnswer } from './measured-answer.ts'

const tracer = trace.getTracer('sluice')

type SpanDescription = { name: string; attributes: Record<string, string> }

/** Adds a span to each model call, named as in https://opentelemetry.io/docs/specs/semconv/gen-ai/. */
export function traceModels({ embedder, reranker, embeddings, chatModels, completionModels, ...llm }: Llm): Llm {
  return {
    ...llm,
    chat: traceChat(llm.chat),
    embedder: {
      ...embedder,
      embed: (texts, signal) =>
        traceCall(describeModelCall('embeddings', embedder.name), () => embedder.embed(texts, signal)),
      embedQuery: (text, signal) =>
        traceCall(describeModelCall('embeddings', embedder.name), () => embedder.embedQuery(text, signal)),
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
    stream: (request) => traceStream(describeModelCall('chat', model.name), () => model.stream(request)),
  }
}

function traceCompletions(model: CompletionModel): CompletionModel {
  const description = describeModelCall('chat', model.name)
  return {
    ...model,
    complete: (request) => traceCall(description, () => model.complete(request)),
    stream: (request) => traceStream(description, () => model.stream(request)),
  }
}

/** Adds a span to each search. It includes the wait for a connection. */
export function traceStore(store: Store): Store {
  const { search } = store.passages
  const description = { name: 'search', attributes: { 'db.system.name': 'postgresql' } }
  const traced: typeof search = (...args) => traceCall(description, () => search(...args))
  return { ...store, passages: { ...store.passages, search: traced } }
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
    if (end?.finishReason) span.setAttribute('gen_ai.response.finish_reasons', [end.finishReason])
    if (end?.inputTokens) span.setAttribute('gen_ai.usage.input_tokens', end.inputTokens)
    if (end?.cachedTokens) span.setAttribute('gen_ai.usage.cache_read.input_tokens', end.cachedTokens)
    if (end?.outputTokens) span.setAttribute('gen_ai.usage.output_tokens', end.outputTokens)
    if (end?.status === 'failed') span.setStatus({ code: SpanStatusCode.ERROR })
    span.end()
  })
}

async function traceCall<T>({ name, attributes }: SpanDescription, work: () => Promise<T>): Promise<T> {
  const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes })
  try {
    const result = await context.with(trace.setSpan(context.active(), span), work)
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
): Promise<AsyncIterable<T>> {
  const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes })
  try {
    return endAfter(await context.with(trace.setSpan(context.active(), span), open), span)
  } catch (error) {
    endSpan(span, error)
    throw error
  }
}

async function* endAfter<T>(events: AsyncIterable<T>, span: Span): AsyncGenerator<T> {
  let failure: unknown
  try {
    yield* events
  } catch (error) {
    failure = error
    throw error
  } finally {
    endSpan(span, failure)
  }
}

function describeModelCall(operation: string, model: string): SpanDescription {
  const attributes = { 'gen_ai.operation.name': operation, 'gen_ai.request.model': model }
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
