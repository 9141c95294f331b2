import { awaitFirst } from './http/batches.ts'
import { LlmError, type LlmErrorCode } from './llm.ts'

/** A call that a fallback model took over. */
export type Fallback = { model: string; fallback: string; error: LlmError }

type Chained = { name: string; fallback?: string | undefined }

type FallbackOptions<Model> = {
  models: ReadonlyMap<string, Model>
  /** Called for each model that failed, before its fallback is called. */
  onFallback: (fallback: Fallback) => void
}

/** 429, 5xx, no connection, no first event in time. Another model would reject an invalid request as well. */
const temporaryFailures: LlmErrorCode[] = ['model_rate_limited', 'model_failed', 'model_unreachable', 'model_timeout']

/**
 * Calls a model. If it fails temporarily, calls its fallback, then that one's fallback. Returns the result and the model
 * that returned it. Throws the error of the last model.
 */
export async function callWithFallback<Model extends Chained, Result>(
  options: FallbackOptions<Model>,
  model: Model,
  call: (model: Model) => Promise<Result>,
): Promise<{ model: Model; result: Result }> {
  try {
    return { model, result: await call(model) }
  } catch (error) {
    const next = findFallback(options.models, model)
    if (!next || !(error instanceof LlmError) || !temporaryFailures.includes(error.code)) throw error
    options.onFallback({ model: model.name, fallback: next.name, error })
    return callWithFallback(options, next, call)
  }
}

/** The same for a stream. A fallback takes over until the first event; later failures end the stream. */
export async function streamWithFallback<Model extends Chained, Event>(
  options: FallbackOptions<Model>,
  first: Model,
  open: (model: Model) => Promise<AsyncIterable<Event>>,
): Promise<{ model: Model; events: AsyncIterable<Event> }> {
  const { model, result: events } = await callWithFallback(options, first, async (model) => {
    const events = await open(model)
    return findFallback(options.models, model) ? awaitFirst(events) : events
  })
  return { model, events }
}

function findFallback<Model extends Chained>(models: ReadonlyMap<string, Model>, { fallback }: Model) {
  return fallback === undefined ? undefined : models.get(fallback)
}
