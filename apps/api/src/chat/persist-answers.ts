import { setTimeout as sleep } from 'node:timers/promises'
import { describeDatabaseError, type Store } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import { repeat } from '../repeat.ts'
import type { Answer, Outcome } from './answer.ts'
import { AnswerEndedError, toOutcome } from './answer-end.ts'
import { createSaver } from './save-progress.ts'

export type PersistOptions = { store: Store; log: FastifyBaseLogger }

const progressIntervalMs = 1000 // text that a crash can lose, with up to a thousand running answers
const stopIntervalMs = 250 // the model call must be cancelled within a second
const sweepIntervalMs = 10_000
const abandonedAfterMs = 15_000 // 15 missed heartbeats: a process that is only slow would have sent one
const confirmMs = 3000 // three heartbeats
const storeTimeoutMs = 60_000 // enough for a database to restart or recover from a crash
const longestPauseMs = 3000

/**
 * Stores the end of an answer, and returns the outcome to report to its readers. While the database fails for any
 * reason, the answer waits in memory for at most a minute.
 */
export async function storeEnd({ store, log }: PersistOptions, answer: Answer, outcome: Outcome): Promise<Outcome> {
  const { owner, key } = answer
  const deadline = performance.now() + storeTimeoutMs
  answer.flush()
  for (let pauseMs = 100; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    try {
      const { parts, sources, model } = answer
      const isStored = await store.answers.finish(owner, key, { ...outcome.end, parts, sources, model })
      return isStored ? outcome : toOutcome(new AnswerEndedError('stopped')) // its conversation was deleted
    } catch (error) {
      if (!describeDatabaseError(error) || performance.now() + pauseMs > deadline) return toOutcome(error)
      log.warn({ ...key, error: describeError(error) }, 'an answer could not be stored yet')
      await sleep(pauseMs * (0.5 + Math.random() / 2)) // jitter: avoids retrying all waiting answers at once
    }
  }
}

/**
 * Stores the text of running answers once per second, which is also their heartbeat. Stops answers that another process
 * asked to stop, and marks answers of crashed processes as interrupted. Returns a function that stops this work.
 */
export function startPersistence({ store, log }: PersistOptions, running: ReadonlyMap<string, Answer>): () => void {
  const { saveTogether, saveSingly } = createSaver({ store, log })
  const sweep = () => store.answers.interruptAbandoned(abandonedAfterMs, confirmMs)
  const warn = (message: string) => (error: unknown) => log.warn({ error: describeError(error) }, message)
  const stops = [
    repeat(progressIntervalMs, () => saveTogether(running.values()), warn('running answers could not be stored')),
    repeat(progressIntervalMs, () => saveSingly(running.values()), warn('slow answers could not be stored')),
    repeat(stopIntervalMs, () => abortStopped(store, running), warn('requests to stop could not be read')),
    repeat(sweepIntervalMs, sweep, warn('abandoned answers could not be marked')),
  ]
  return () => {
    for (const stop of stops) stop()
  }
}

async function abortStopped(store: Store, running: ReadonlyMap<string, Answer>): Promise<void> {
  if (running.size === 0) return
  for (const id of await store.answers.listStopRequests()) {
    running.get(id)?.controller.abort(new AnswerEndedError('stopped'))
  }
}
