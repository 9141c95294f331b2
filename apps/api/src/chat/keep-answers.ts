import { setTimeout as sleep } from 'node:timers/promises'
import { describeDatabaseError, type Store } from '@repo/db'
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
 * Stores the end of an answer; gives the outcome that its readers may be told. While the database is away the answer
 * waits in memory, for at most about 25 s.
 */
export async function storeEnd({ store, log }: KeepOptions, answer: Answer, outcome: Outcome): Promise<Outcome> {
  const { owner, key, sources } = answer
  const { errorText: _, ...end } = outcome.end
  for (let delayMs = firstRetryMs; ; delayMs *= 2) {
    try {
      await store.turns.finish(owner, key, { ...end, sources, content: answer.text() })
      return outcome
    } catch (error) {
      if (!describeDatabaseError(error)?.unavailable || delayMs > lastRetryMs) {
        log.error({ ...key, error: describeError(error) }, 'an answer could not be stored')
        return toOutcome(error)
      }
      await sleep(delayMs)
    }
  }
}

/**
 * Stores the text so far of all running answers, one statement a second whatever their number, which also says that
 * they live; and marks answers of processes that died. Returns a function that ends it.
 */
export function startKeeping({ store, log }: KeepOptions, running: Iterable<Answer>): () => void {
  const tell = (what: string) => (error: unknown) => log.warn({ error: describeError(error) }, what)
  const save = () => saveProgress(store, [...running]).catch(tell('running answers could not be stored'))
  const sweep = () =>
    store.turns.interruptAbandoned(abandonedAfterMs).catch(tell('abandoned answers could not be marked'))
  const timers = [setInterval(save, progressIntervalMs), setInterval(sweep, sweepIntervalMs)]
  return () => {
    for (const timer of timers) clearInterval(timer)
  }
}

/** An answer whose row is gone was deleted, perhaps by another process: nobody waits for it. */
async function saveProgress(store: Store, answers: Answer[]) {
  if (answers.length === 0) return
  const progress = answers.map(({ owner, key, text }) => ({ owner, ...key, content: text() }))
  const alive = await store.turns.saveProgress(progress)
  for (const { key, controller } of answers) {
    if (!alive.has(key.answerId)) controller.abort(new AnswerEndedError('stopped'))
  }
}
