import { LlmError } from '../llm.ts'
import { createFormatError } from '../response-kind.ts'
import type { HttpAnswer } from './http-call.ts'
import { createSseParser, type SseEvent } from './sse-parser.ts'
import { createTurnBudget, runLater } from './turns.ts'

/**
 * Limit per answer and turn of the event loop: about 1 ms with all further processing. A model may send 2 MB in one
 * turn.
 */
const maxBytesPerTurn = 16 * 1024

/** Decodes a vendor's events as they arrive. */
export type Decoder<T> = {
  /**
   * Adds the content of an event to `parts`. An answer that is not streamed is one event. Throws an `LlmError`; what it
   * added before that still counts.
   */
  readEvent: (event: SseEvent, parts: T[]) => void
  /** `whole`: later events matter little. `done`: nothing more will be read. */
  progress: () => 'running' | 'whole' | 'done'
  /** Returns what the end of the stream adds. */
  readEnd: () => T[]
}

/** The caller that waits for the next batch. It is called once. */
type Listener<T> = { onBatch: (parts: T[]) => void; onEnd: () => void; onFailure: (reason: unknown) => void }

/**
 * Yields the events of an answer as they are decoded; events that arrive together form one batch. The iteration throws
 * an `LlmError` or the reason of `signal`. However it ends, the answer is closed. An answer that is not labelled as a
 * stream may be a page or an error, so this rejects if it fails before its first event.
 */
export async function readBatches<T>(
  answer: HttpAnswer,
  decoder: Decoder<T>,
  signal?: AbortSignal,
): Promise<AsyncIterable<T[], undefined>> {
  const batches = decodeBatches(answer, decoder, signal)
  return answer.isStream ? batches : awaitFirst(batches)
}

/** Resolves with the same events once the first has arrived. Rejects if the stream fails before that. */
export async function awaitFirst<T>(events: AsyncIterable<T, undefined>): Promise<AsyncIterable<T, undefined>> {
  const iterator = events[Symbol.asyncIterator]()
  let first: Promise<IteratorResult<T, undefined>> | undefined = iterator.next()
  await first
  const next = () => {
    const result = first ?? iterator.next()
    first = undefined
    return result
  }
  const end = async () => iterator.return?.() ?? { done: true as const, value: undefined }
  return { [Symbol.asyncIterator]: () => ({ next, return: end }) }
}

/** A batch costs one promise, because a generator costs several microtasks per token. */
function decodeBatches<T>(
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
    answer.destroy() // which rejects a pending `next`
    return { done: true, value: undefined }
  }
  return { [Symbol.asyncIterator]: () => ({ next, return: end }) }
}

/** Returns the function that waits for the next batch. Events that arrived before a failure are returned first. */
function startDecoding<T>(answer: HttpAnswer, decoder: Decoder<T>, { onBatch, onEnd, onFailure }: Listener<T>) {
  const parser = createSseParser()
  let failure: { reason: unknown } | undefined
  let isRead = false // to its end, or as far as needed
  let opening: string | undefined = '' // the first text of the answer, until its first event
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
      if (opening !== undefined) opening = readOpening(opening, piece)
      for (const event of piece ? parser.push(piece) : parser.end()) {
        if (isSilent(event)) continue
        opening = undefined
        answer.markStarted()
        if (decoder.progress() !== 'done') decoder.readEvent(event, parts)
      }
      if (decoder.progress() === 'whole') answer.markWhole()
      isRead = !bytes || decoder.progress() === 'done'
      if (isRead && opening !== undefined) throw createFormatError(opening, 'an answer')
    })
  }
  /** A lost connection does not affect an answer that is complete. */
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
    else if (budget.isSpent()) runLater(read)
    else read()
  }
  return next
}

/** Returns whether an event only keeps the connection open. */
function isSilent({ name, data }: SseEvent): boolean {
  return name === 'ping' || (!data.startsWith('{') && data.trim() === '') // trimming every token would cost CPU
}

const maxOpeningLength = 100 // UTF-16 units, enough to recognise a page

/** Returns the first text of an answer. Throws an `LlmError` for a page, whose scripts could be mistaken for JSON. */
function readOpening(start: string, bytes: Buffer | null): string {
  const opening = start.length < maxOpeningLength ? start + (bytes?.toString() ?? '').trimStart() : start
  if (opening.startsWith('<')) throw createFormatError(opening, 'an answer')
  return opening
}
