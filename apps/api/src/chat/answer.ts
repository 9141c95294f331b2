import { type AnswerEnd, type AnswerKey, type Source, toStorableText } from '@repo/db'
import { createBacklog } from './backlog.ts'

export type Segment = { type: 'text' | 'reasoning'; text: string }

/** Whoever shows an answer while it grows. Both are called synchronously and must not throw. */
export type Reader = { onDelta: (segment: Segment, delta: string) => void; onEnd: () => void }

/** How an answer ended. */
type End = Omit<AnswerEnd, 'content' | 'sources'>

/** `failure` is the error behind a failed end, for a client that has not been answered yet. */
export type Outcome = { end: End; failure?: unknown }

type State = Partial<Outcome> & {
  sources: Source[]
  /** As `performance.now()` tells it; the first delta has none until it comes. */
  startedAt: number
  firstDeltaAt?: number
  /** What the model has sent; a token each, as a rule. */
  deltas: number
  /** Of its text and of its reasoning, in bytes of UTF-8. */
  bytes: Record<Segment['type'], number>
}

export type Answer = ReturnType<typeof createAnswer>

/**
 * An answer as it grows. What the model says is appended here and nowhere else; readers follow it or leave, and the answer
 * goes on. It holds text, not sockets: a slow reader costs a position, not a buffer.
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

  /** What waits for its other half will not get it. */
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
    /** Resolves when the model has accepted the question, or the answer has ended without that. */
    accepted: accepted.promise,
    ended: ended.promise,
    accept: () => accepted.resolve(),

    /** Adds what the model said. Half a surrogate pair waits for its other half. */
    append: (type: Segment['type'], delta: string) => {
      if (state.deltas === 0) state.firstDeltaAt = performance.now()
      state.deltas += 1
      if (segments.at(-1)?.type !== type) flush()
      const text = carry + delta
      carry = endsInHighSurrogate(text) ? text.slice(-1) : ''
      const whole = toStorableText(carry ? text.slice(0, -1) : text)
      if (whole) push(type, whole)
    },

    /** Says that the model says no more; the end may still have to be stored. */
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

/** Whether a cut here would divide a character that takes two UTF-16 units. */
export function endsInHighSurrogate(text: string): boolean {
  const code = text.charCodeAt(text.length - 1)
  return code >= 0xd800 && code <= 0xdbff
}
