import { setTimeout as sleep } from 'node:timers/promises'
import { describeDatabaseError, type Progress, type Store } from '@repo/db'
import type { FastifyBaseLogger } from 'fastify'
import { describeError } from '../plugins/errors.ts'
import type { Answer, Outcome } from './answer.ts'
import { AnswerEndedError, toOutcome } from './write-answer.ts'

export type KeepOptions = { store: Store; log: FastifyBaseLogger }

const progressIntervalMs = 1000 // what a crash can lose of an answer's text
const sweepIntervalMs = 10_000
const abandonedAfterMs = 15_000 // 15 missed beats: a process that is only slow has long spoken
const firstRetryMs = 100
const lastRetryMs = 12_800 // with the doubling before it about 25 s in all: a database that restarts is back

/**
 * Stores the end of an answer; gives the outcome that its readers may be told. While the database fails, whatever the
 * failure, the answer waits in memory, for at most about 25 s.
 */
export async function storeEnd({ store, log }: KeepOptions, answer: Answer, outcome: Outcome): Promise<Outcome> {
  const { owner, key, sources } = answer
  const { errorText: _, ...end } = outcome.end
  answer.flush()
  for (let delayMs = firstRetryMs; ; delayMs *= 2) {
    try {
      const isStored = await store.turns.finish(owner, key, { ...end, sources, content: answer.text() })
      return isStored ? outcome : toOutcome(new AnswerEndedError('stopped')) // its conversation was deleted
    } catch (error) {
      if (!describeDatabaseError(error) || delayMs > lastRetryMs) return toOutcome(error)
      log.warn({ ...key, error: describeError(error) }, 'an answer could not be stored yet')
      await sleep(delayMs)
    }
  }
}

/**
 * Stores the text so far of all running answers, one statement a second whatever their number, which also says that
 * they live; and marks answers of processes that died. Returns a function that ends it.
 */
export function startKeeping({ store, log }: KeepOptions, running: Iterable<Answer>): () => void {
  const saveProgress = createSaver(store)
  const tell = (what: string) => (error: unknown) => log.warn({ error: describeError(error) }, what)
  const save = () => saveProgress([...running]).catch(tell('running answers could not be stored'))
  const sweep = () =>
    store.turns.interruptAbandoned(abandonedAfterMs).catch(tell('abandoned answers could not be marked'))
  const timers = [setInterval(save, progressIntervalMs), setInterval(sweep, sweepIntervalMs)]
  return () => {
    for (const timer of timers) clearInterval(timer)
  }
}

/** Sends what is new since the last time; everything when it is not known what the database has. One at a time. */
function createSaver(store: Store) {
  let known = new Map<Answer, number>()
  let isSaving = false

  return async (answers: Answer[]) => {
    if (isSaving || answers.length === 0) return
    isSaving = true
    const before = known
    known = new Map()
    try {
      const texts = answers.map((answer) => ({ answer, text: answer.text() }))
      const alive = await store.turns.saveProgress(texts.map(({ answer, text }) => toProgress(answer, text, before)))
      for (const { answer, text } of texts) {
        if (alive.has(answer.key.answerId)) known.set(answer, text.length)
        else answer.controller.abort(new AnswerEndedError('stopped')) // deleted, perhaps by another process
      }
    } finally {
      isSaving = false
    }
  }
}

function toProgress(answer: Answer, text: string, known: Map<Answer, number>): Progress {
  const { owner, key } = answer
  const stored = known.get(answer)
  return { owner, ...key, ...(stored === undefined ? { content: text } : { addition: text.slice(stored) }) }
}
