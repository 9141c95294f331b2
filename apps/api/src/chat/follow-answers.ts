import {
  type AnswerKey,
  type AnswerPart,
  dropParts,
  fromStored,
  measureParts,
  type Store,
  type StoredAnswer,
} from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import { repeat } from '../repeat.ts'
import { type Answer, createAnswer, type Reader } from './answer.ts'
import { AnswerEndedError, toOutcome } from './answer-end.ts'

const pollIntervalMs = 250 // the text itself is stored once per second

/**
 * An answer in the database, and how much of it this process has read: its position, and its plain text in UTF-16 units
 * and in code points.
 */
type FollowedAnswer = { answer: Answer; position: number; text: number; characters: number }

/**
 * Reads answers from the database: ended ones, and running ones of other processes, which grow here while they have
 * readers. One statement per poll serves all readers of this process. LISTEN does not work through PgBouncer.
 */
export function createFollowedAnswers({ store, log }: { store: Store; log: FastifyBaseLogger }) {
  const followed = new Set<FollowedAnswer>()
  const listRunning = () => [...followed].filter(({ answer }) => !answer.end) // the others still have slow readers

  const poll = async () => {
    const running = listRunning()
    if (running.length === 0) return
    const rows = await store.answers.read(running.map(toPosition))
    const stored = new Map(rows.map((row) => [row.index, row]))
    for (const [index, entry] of running.entries()) readOn(entry, stored.get(index))
  }
  let isClosed = false
  const stopPolling = repeat(pollIntervalMs, poll, (error) =>
    log.warn({ error: describeError(error) }, 'answers of other processes could not be read'),
  )

  return {
    /** Returns the answer, or undefined when there is none. */
    open: async (owner: string, key: AnswerKey): Promise<Answer | undefined> => {
      const answer = createAnswer(owner, key)
      const entry = { answer, position: 0, text: 0, characters: 0 }
      const [stored] = await store.answers.read([toPosition(entry)])
      if (!stored) return undefined
      readOn(entry, stored)
      answer.accept()
      const { follow } = answer
      return Object.assign(answer, {
        follow: (reader: Reader) => {
          const leave = follow(reader)
          followed.add(entry)
          return () => followed.delete(entry) && leave()
        },
      })
    },

    count: () => followed.size,

    /** Ends the readers' streams as interrupted, so that clients reconnect. The answers continue. */
    close: () => {
      isClosed = true
      stopPolling()
      for (const { answer } of listRunning()) answer.close(toOutcome(new AnswerEndedError('interrupted')))
    },

    isClosed: () => isClosed,
  }
}

function toPosition({ answer: { owner, key }, position, characters }: FollowedAnswer) {
  return { owner, ...key, position, characters }
}

const unknown = { finishReason: null, inputTokens: null, outputTokens: null, cachedTokens: null }
const gone = { ...unknown, status: 'stopped', error: null } as const // its conversation was deleted

function readOn(entry: FollowedAnswer, stored: StoredAnswer | undefined): void {
  const { answer } = entry
  if (stored) {
    answer.sources = stored.sources
    addParts(entry, fromStored(stored, entry))
    for (const { start, parts } of stored.pieces) addParts(entry, dropParts(parts, entry.position - start))
  }
  const { status, error, finishReason, inputTokens, outputTokens, cachedTokens } = stored ?? gone
  if (status === 'streaming') return
  answer.close({ end: { status, error, finishReason, inputTokens, outputTokens, cachedTokens } })
}

function addParts(entry: FollowedAnswer, parts: AnswerPart[]): void {
  for (const part of parts) {
    entry.position += measureParts([part])
    if (!('text' in part)) entry.answer.add(part)
    else if (part.text) entry.answer.append(part.type, part.text)
    if (part.type !== 'text') continue
    entry.text += part.text.length
    entry.characters += countCharacters(part.text)
  }
}

/** Counts code points, as Postgres does. */
function countCharacters(text: string): number {
  let count = 0
  for (const _ of text) count += 1
  return count
}
