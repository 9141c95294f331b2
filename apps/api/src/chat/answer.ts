import { type AnswerEnd, type AnswerKey, endsInHighSurrogate, type Source, toStorableText } from '@repo/db'
import { createBacklog } from './backlog.ts'

export type Segment = { type: 'text' | 'reasoning'; text: string }

/** Follows a growing answer. Both functions are called synchronously and must not throw. */
export type Reader = { onDelta: (segment: Segment, delta: string) => void; onEnd: () => void }

/** How an answer ended. */
type End = Omit<AnswerEnd, 'content' | 'sources' | 'model'>

/** `failure` is the error of a failed answer, for a client that has not received a response yet. */
export type Outcome = { end: End; failure?: unknown }

type State = Partial<Outcome> & {
  sources: Source[]
  /** The name of the model that writes it, once a model is called. */
  model?: string | undefined
  /** From `performance.now()`. `firstDeltaAt` is undefined until the first delta arrives. */
  startedAt: number
  firstDeltaAt?: number
  /** Number of deltas from the model, usually one per token. */
  deltas: number
  /** Size of its text and of its reasoning, in bytes of UTF-8. */
  bytes: Record<Segment['type'], number>
}

export type Answer = ReturnType<typeof createAnswer>

/**
 * Creates an answer that grows. All model output is appended here. Readers can join and leave without affecting it. It
 * contains text and no sockets, so a slow reader needs only a position, not a buffer of its own.
 */
export function createAnswer(owner: string, key: AnswerKey) {
  const readers = new Set<Reader>()
  const accepted = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  const segments: Segment[] = []
  const state: State = { sources: [], startedAt: performance.now(), deltas: 0, bytes: { text: 0, reasoning: 0 } }
  const controller = new AbortController()
  let carry = ''

  const push = (type: Segment['type'], delta: string) => {
    const last = segments.at(-1)
    const segment = last?.type === type ? last : { type, text: '' }
    if (segment !== last) segments.push(segment)
    segment.text += delta
    state.bytes[type] += Buffer.byteLength(delta)
    for (const reader of readers) reader.onDelta(segment, delta)
  }

  /** Flushes a trailing lone surrogate as U+FFFD. */
  const flush = () => {
    const last = segments.at(-1)
    if (carry) push(last?.type ?? 'text', toStorableText(carry))
    carry = ''
  }

  return Object.assign(state, {
    owner,
    key,
    segments,
    controller,
    backlog: createBacklog(() => state.bytes.text, controller.signal),
    /** Resolves when the model has accepted the request, or when the answer has ended before that. */
    accepted: accepted.promise,
    ended: ended.promise,
    accept: () => accepted.resolve(),

    /** Appends model output. Half a surrogate pair is held back until its other half arrives. */
    append: (type: Segment['type'], delta: string) => {
      if (state.deltas === 0) state.firstDeltaAt = performance.now()
      state.deltas += 1
      if (segments.at(-1)?.type !== type) flush()
      const text = carry + delta
      carry = endsInHighSurrogate(text) ? text.slice(-1) : ''
      const whole = toStorableText(carry ? text.slice(0, -1) : text)
      if (whole) push(type, whole)
    },

    /** Flushes held-back text when the model has finished. The end of the answer may still have to be persisted. */
    flush,

    text: () => segments.reduce((text, segment) => (segment.type === 'text' ? text + segment.text : text), ''),

    close: (outcome: Outcome) => {
      Object.assign(state, outcome)
      accepted.resolve()
      ended.resolve()
      for (const reader of readers) reader.onEnd()
    },

    countReaders: () => readers.size,

    /** Follows the answer until the returned function is called. */
    follow: (reader: Reader) => {
      readers.add(reader)
      return () => readers.delete(reader)
    },
  })
}
