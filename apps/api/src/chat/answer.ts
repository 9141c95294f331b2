import { type AnswerEnd, type AnswerKey, type Source, toStorableText } from '@repo/db'

export type Segment = { type: 'text' | 'reasoning'; text: string }

/** Whoever shows an answer while it grows. Both are called synchronously and must not throw. */
export type Reader = { onDelta: (segment: Segment, delta: string) => void; onEnd: () => void }

/** How an answer ended; `errorText` is for its reader. */
export type End = Omit<AnswerEnd, 'content' | 'sources'> & { errorText?: string }

/** `failure` is the error behind a failed end, for a client that has not been answered yet. */
export type Outcome = { end: End; failure?: unknown }

export type Answer = ReturnType<typeof createAnswer>

/**
 * An answer as it grows in this process. The model's deltas are appended here and nowhere else; readers follow it or
 * leave, and the answer goes on. It holds text, not sockets: a slow reader costs a position, not a buffer.
 */
export function createAnswer(owner: string, key: AnswerKey) {
  const readers = new Set<Reader>()
  const accepted = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  const segments: Segment[] = []
  let carry = ''

  const append = (type: Segment['type'], delta: string) => {
    const last = segments.at(-1)
    const segment = last?.type === type ? last : { type, text: '' }
    if (segment !== last) segments.push(segment)
    segment.text += delta
    for (const reader of readers) reader.onDelta(segment, delta)
  }

  const answer = {
    owner,
    key,
    segments,
    sources: [] as Source[],
    end: undefined as End | undefined,
    /** The error that ended it, for a client that has not been answered yet. */
    failure: undefined as unknown,
    controller: new AbortController(),
    /** Resolves when the model has accepted the question, or the answer has ended without that. */
    accepted: accepted.promise,
    ended: ended.promise,
    accept: () => accepted.resolve(),

    /** Adds what the model said. Half a surrogate pair waits for its other half. */
    append: (type: Segment['type'], delta: string) => {
      const text = carry + delta
      carry = endsInHighSurrogate(text) ? text.slice(-1) : ''
      const whole = toStorableText(carry ? text.slice(0, -1) : text)
      if (whole) append(type, whole)
    },

    text: () => segments.reduce((text, segment) => (segment.type === 'text' ? text + segment.text : text), ''),

    close: (end: End, failure?: unknown) => {
      answer.end = end
      answer.failure = failure
      accepted.resolve()
      ended.resolve()
      for (const reader of readers) reader.onEnd()
    },

    /** Follows the answer until the returned function is called. */
    follow: (reader: Reader) => {
      readers.add(reader)
      return () => readers.delete(reader)
    },
  }
  return answer
}

function endsInHighSurrogate(text: string): boolean {
  const code = text.charCodeAt(text.length - 1)
  return code >= 0xd800 && code <= 0xdbff
}
