import {
  type AnswerEnd,
  type AnswerKey,
  type AnswerPart,
  endsInHighSurrogate,
  joinText,
  measureParts,
  type Source,
  toStorableText,
} from '@repo/db'
import type { Usage } from '@repo/llm'
import type { FastifyBaseLogger } from 'fastify'
import { createBacklog } from './backlog.ts'
import type { Degraded } from './search-passages.ts'

/** A part of an answer that grows delta by delta. */
export type TextPart = Extract<AnswerPart, { text: string }>
export type OtherPart = Exclude<AnswerPart, TextPart>

/** What a model has said of a tool's input so far. It is only sent to readers that are up to date, and not stored. */
export type InputEvent =
  | { type: 'tool-input-start'; toolCallId: string; toolName: string }
  | { type: 'tool-input-delta'; toolCallId: string; delta: string }

/** Follows a growing answer. All functions are called synchronously and must not throw. */
export type Reader = {
  onDelta: (part: TextPart, delta: string) => void
  /** Called for each part that is not a text, and when `degraded` is set. */
  onPart: () => void
  onInput: (event: InputEvent) => void
  onEnd: () => void
}

/** How an answer ended. */
type End = Omit<AnswerEnd, 'parts' | 'sources' | 'model'>

/** `failure` is the error of a failed answer, for a client that has not received a response yet. */
export type Outcome = { end: End; failure?: unknown }

/** Who asks: the request's log, and the API key that it was made with, if any. */
export type Caller = { log: FastifyBaseLogger; keyId?: string | undefined }

type State = Partial<Outcome> & {
  /** The API key whose budget pays for it. */
  keyId?: string | undefined
  sources: Source[]
  /** How its search was limited. Known in this process only: it is not stored. */
  degraded?: Degraded
  /** The name of the model that writes it, once a model is called. */
  model?: string | undefined
  /** From `performance.now()`. `firstDeltaAt` is undefined until the first delta arrives. */
  startedAt: number
  firstDeltaAt?: number
  /** Number of deltas from the model, usually one per token. */
  deltas: number
  /** Size of all parts in bytes, about as JSON in UTF-8. */
  bytes: number
}

export type Answer = ReturnType<typeof createAnswer>

/** What an answer consisted of before it ran again, after its client has sent what it waited for. */
export type Beginning = {
  parts: AnswerPart[]
  sources: Source[]
  model?: string | undefined
  /** Of its model calls, as far as it is known. */
  usage?: Usage | undefined
}

/**
 * Creates an answer that grows. All model output is appended here. Readers can join and leave without affecting it. It
 * contains parts and no sockets, so a slow reader needs only a position, not a buffer of its own.
 */
export function createAnswer(owner: string, key: AnswerKey, beginning: Beginning = { parts: [], sources: [] }) {
  const readers = new Set<Reader>()
  const accepted = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  const parts: AnswerPart[] = [...beginning.parts]
  const { sources, model } = beginning
  const state: State = { sources, model, startedAt: performance.now(), deltas: 0, bytes: 0 }
  const controller = new AbortController()
  const texts = createTexts(parts, (part, delta) => {
    state.bytes += Buffer.byteLength(delta)
    for (const reader of readers) reader.onDelta(part, delta)
  })

  const countDelta = () => {
    if (state.deltas === 0) state.firstDeltaAt = performance.now()
    state.deltas += 1
  }

  return Object.assign(state, {
    owner,
    key,
    parts,
    beginning,
    /** The position where this run of the answer begins. */
    start: measureParts(parts),
    controller,
    backlog: createBacklog(() => state.bytes, controller.signal),
    /** Resolves when the model has accepted the request, or when the answer has ended before that. */
    accepted: accepted.promise,
    ended: ended.promise,
    accept: () => accepted.resolve(),

    /** Appends model output. Half a surrogate pair is held back until its other half arrives. */
    append: (type: TextPart['type'], delta: string) => {
      countDelta()
      texts.append(type, delta)
    },

    /** Adds a part that is not a text. */
    add: (part: OtherPart) => {
      texts.flush()
      parts.push(part)
      state.bytes += Buffer.byteLength(JSON.stringify(part))
      for (const reader of readers) reader.onPart()
    },

    /** Tells readers that the search was limited. */
    degrade: (degraded: Degraded) => {
      state.degraded = degraded
      for (const reader of readers) reader.onPart()
    },

    /** Tells readers what the model has said of a tool's input. */
    announceInput: (event: InputEvent) => {
      countDelta()
      texts.flush()
      for (const reader of readers) reader.onInput(event)
    },

    /** Flushes held-back text when the model has finished. The end of the answer may still have to be persisted. */
    flush: texts.flush,

    text: () => joinText(parts),

    close: (outcome: Outcome) => {
      Object.assign(state, outcome)
      accepted.resolve()
      ended.resolve()
      for (const reader of readers) reader.onEnd()
    },

    countReaders: () => readers.size,

    /** Follows the answer until the returned function is called. */
    follow: (reader: Reader) => addTo(readers, reader),
  })
}

/** Grows the texts in a list of parts. */
function createTexts(parts: AnswerPart[], onDelta: Reader['onDelta']) {
  let carry = ''

  const push = (type: TextPart['type'], delta: string) => {
    const last = parts.at(-1)
    const part = last?.type === type ? last : { type, text: '' }
    if (part !== last) parts.push(part)
    part.text += delta
    onDelta(part, delta)
  }
  /** Flushes a trailing lone surrogate as U+FFFD. */
  const flush = () => {
    const last = parts.at(-1)
    if (carry) push(last?.type === 'reasoning' ? 'reasoning' : 'text', toStorableText(carry))
    carry = ''
  }

  return {
    append: (type: TextPart['type'], delta: string) => {
      if (parts.at(-1)?.type !== type) flush()
      const text = carry + delta
      carry = endsInHighSurrogate(text) ? text.slice(-1) : ''
      const whole = toStorableText(carry ? text.slice(0, -1) : text)
      if (whole) push(type, whole)
    },
    flush,
  }
}

function addTo<T>(set: Set<T>, member: T): () => void {
  set.add(member)
  return () => set.delete(member)
}
