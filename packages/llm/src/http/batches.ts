import { LlmError } from '../llm.ts'
import { type HttpAnswer, readText } from './http-call.ts'
import { createSseParser, type SseEvent } from './sse-parser.ts'
import { createTurnBudget, runLater } from './turns.ts'

/** Of one answer in one turn of the event loop: about 1 ms with all that follows. A model may send 2 MB in one turn. */
const maxBytesPerTurn = 16 * 1024

/** Of an answer that is not streamed. `JSON.parse` of it takes 20 ms. */
export const maxWholeBytes = 4 * 1024 * 1024

/** What a vendor's events say, as they come. */
export type Decoder<T> = {
  /** Adds what an event says to `parts`. Throws an `LlmError`; what it added before counts. */
  readEvent: (event: SseEvent, parts: T[]) => void
  /** The same for a server that does not stream, and answers with one JSON. */
  readWhole: (json: string, parts: T[]) => void
  /** `whole`: what may still come is of little worth. `done`: nothing more will be read. */
  progress: () => 'running' | 'whole' | 'done'
  /** What the end adds. */
  readEnd: () => T[]
}

/** Who waits for the next batch. Told once. */
type Listener<T> = { onBatch: (parts: T[]) => void; onEnd: () => void; onFailure: (reason: unknown) => void }

/**
 * The events of an answer as they are decoded, those that came together in one batch. The iteration throws an `LlmError`, or
 * the reason of `signal`; however it ends, the answer is closed. Bytes are decoded as they arrive, and a batch costs one
 * promise: as a generator, a token's hops through the microtask queue stood out in a profile.
 */
export function readBatches<T>(
  answer: HttpAnswer,
  decoder: Decoder<T>,
  signal?: AbortSignal,
): AsyncIterable<T[], undefined> {
  let pending = Promise.withResolvers<IteratorResult<T[], undefined>>()
  let isOver = false
  const close = () => {
    isOver = true
    answer.destroy()
    pending.resolve({ done: true, value: undefined })
  }
  const onBatch = (value: T[]) => pending.resolve({ done: false, value })
  const onFailure = (reason: unknown) => {
    pending.reject(reason)
    close()
  }
  const onEnd = () => {
    if (decoder.progress() === 'running') return onFailure(new LlmError('model_protocol', 'the answer was cut short'))
    answer.drain()
    isOver = true
    const parts = decoder.readEnd()
    if (parts.length > 0) onBatch(parts)
    else close()
  }
  const decodeNext = startDecoding(answer, decoder, { onBatch, onEnd, onFailure })
  const next = () => {
    pending = Promise.withResolvers()
    const { promise } = pending
    if (isOver) close()
    else if (signal?.aborted) onFailure(signal.reason)
    else decodeNext()
    return promise
  }
  const end = async (): Promise<IteratorReturnResult<undefined>> => {
    isOver = true
    answer.destroy() // which fails a `next` that waits
    return { done: true, value: undefined }
  }
  return { [Symbol.asyncIterator]: () => ({ next, return: end }) }
}

/** Gives the function that waits for the next batch. What came before a failure is told before it. */
function startDecoding<T>(answer: HttpAnswer, decoder: Decoder<T>, { onBatch, onEnd, onFailure }: Listener<T>) {
  const parser = createSseParser()
  let failure: { reason: unknown } | undefined
  let isRead = false // to its end, or as far as it is needed
  let unread: Buffer | undefined
  const budget = createTurnBudget(maxBytesPerTurn)

  const decode = (read: (parts: T[]) => void) => {
    const parts: T[] = []
    try {
      read(parts)
    } catch (reason) {
      failure = { reason }
    }
    if (parts.length > 0) onBatch(parts)
    else next()
  }
  const onBytes = (bytes: Buffer | null) => {
    const isLong = bytes !== null && bytes.length > maxBytesPerTurn
    unread = isLong ? bytes.subarray(maxBytesPerTurn) : undefined
    const piece = isLong ? bytes.subarray(0, maxBytesPerTurn) : bytes
    budget.spend(piece?.length ?? 0)
    decode((parts) => {
      const events = piece ? parser.push(piece) : parser.end()
      if (events.length > 0) answer.markStarted()
      for (const event of events) if (decoder.progress() !== 'done') decoder.readEvent(event, parts)
      if (decoder.progress() === 'whole') answer.markWhole()
      isRead = !bytes || decoder.progress() === 'done'
    })
  }
  const onWhole = (json: string) =>
    decode((parts) => {
      isRead = true
      decoder.readWhole(json, parts)
    })
  /** A connection that breaks takes nothing from an answer that is whole. */
  const onBreak = (reason: unknown) => {
    if (decoder.progress() === 'whole' && reason instanceof LlmError) onEnd()
    else onFailure(reason)
  }
  const read = () => {
    if (unread) onBytes(unread)
    else answer.read(onBytes, onBreak)
  }
  const next = (): void => {
    if (failure) onFailure(failure.reason)
    else if (isRead) onEnd()
    else if (answer.contentType.includes('json')) readText(answer, maxWholeBytes).then(onWhole, onFailure)
    else if (budget.isSpent()) runLater(read)
    else read()
  }
  return next
}
