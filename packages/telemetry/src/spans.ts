import { context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { AnswerEnd, Store } from '@repo/db'
import { type Llm, LlmError } from '@repo/llm'

const tracer = trace.getTracer('sluice')

/** What metrics and traces read of an answer. Times are `performance.now()`; there is no first delta until it comes. */
export type MeasuredAnswer = {
  startedAt: number
  firstDeltaAt?: number
  deltas: number
  end?: Pick<AnswerEnd, 'status' | 'finishReason' | 'inputTokens' | 'outputTokens'>
  ended: Promise<void>
}

type Described = { name: string; attributes: Record<string, string> }

/** A span for each call of a model, with the names that https://opentelemetry.io/docs/specs/semconv/gen-ai/ gives. */
export function traceModels({ chat, embedder, completions, embeddings, close }: Llm): Llm {
  return {
    chat: { ...chat, stream: (request) => traceStream(ofModel('chat', chat.name), () => chat.stream(request)) },
    embedder: {
      ...embedder,
      embed: (texts, signal) => traceCall(ofModel('embeddings', embedder.name), () => embedder.embed(texts, signal)),
      embedQuery: (text, signal) =>
        traceCall(ofModel('embeddings', embedder.name), () => embedder.embedQuery(text, signal)),
    },
    completions: {
      ...completions,
      complete: (request) => traceCall(ofModel('chat', completions.name), () => completions.complete(request)),
      stream: (request) => traceStream(ofModel('chat', completions.name), () => completions.stream(request)),
    },
    embeddings: {
      ...embeddings,
      create: (body, signal) =>
        traceCall(ofModel('embeddings', embeddings.name), () => embeddings.create(body, signal)),
    },
    close,
  }
}

/** A span for each search: the wait for a connection, and one statement. */
export function traceStore(store: Store): Store {
  const { search } = store.passages
  const ofSearch = { name: 'search', attributes: { 'db.system.name': 'postgresql' } }
  const traced: typeof search = (...given) => traceCall(ofSearch, () => search(...given))
  return { ...store, passages: { ...store.passages, search: traced } }
}

/**
 * The stream as a span of its own, from the first delta to the end of the answer: its request may have ended long before.
 * It is made when the answer ends, so that nothing happens for a delta.
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
    if (end?.outputTokens) span.setAttribute('gen_ai.usage.output_tokens', end.outputTokens)
    if (end?.status === 'failed') span.setStatus({ code: SpanStatusCode.ERROR })
    span.end()
  })
}

async function traceCall<T>({ name, attributes }: Described, work: () => Promise<T>): Promise<T> {
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

/** The span lasts to the end of what the model sends. */
async function traceStream<T>(
  { name, attributes }: Described,
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

function ofModel(operation: string, model: string): Described {
  const attributes = { 'gen_ai.operation.name': operation, 'gen_ai.request.model': model }
  return { name: `${operation} ${model}`, attributes }
}

/** An answer that was stopped or drained has not failed. */
function endSpan(span: Span, error?: unknown): void {
  if (error instanceof Error) span.setAttribute('error.type', error instanceof LlmError ? error.code : error.name)
  if (error !== undefined && !isStop(error)) span.setStatus({ code: SpanStatusCode.ERROR })
  span.end()
}

function isStop(error: unknown): boolean {
  return error instanceof Error && error.name === 'AnswerEndedError'
}
