import { setTimeout as sleep } from 'node:timers/promises'
import { describeDatabaseError, type Store } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import { repeat } from '../repeat.ts'
import type { Answer, Outcome } from './answer.ts'
import { createSaver } from './save-progress.ts'
import { AnswerEndedError, toOutcome } from './write-answer.ts'

export type KeepOptions = { store: Store; log: FastifyBaseLogger }

const progressIntervalMs = 1000 // what a crash can lose of an answer's text, while no more than a thousand run
const stopIntervalMs = 250 // the model shall be hung up on within a second
const sweepIntervalMs = 10_000
const abandonedAfterMs = 15_000 // 15 missed beats: a process that is only slow has long spoken
const storeTimeoutMs = 60_000 // a database that restarts, or recovers from a crash, is back by then
const longestPauseMs = 3000

/**
 * Stores the end of an answer; gives the outcome that its readers may be told. While the database fails, whatever the
 * failure, the answer waits in memory, for at most a minute.
 */
export async function storeEnd({ store, log }: KeepOptions, answer: Answer, outcome: Outcome): Promise<Outcome> {
  const { owner, key, sources } = answer
  const deadline = performance.now() + storeTimeoutMs
  answer.flush()
  for (let pauseMs = 100; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    try {
      const isStored = await store.answers.finish(owner, key, { ...outcome.end, sources, content: answer.text() })
      return isStored ? outcome : toOutcome(new AnswerEndedError('stopped')) // its conversation was deleted
    } catch (error) {
      if (!describeDatabaseError(error) || performance.now() + pauseMs > deadline) return toOutcome(error)
      log.warn({ ...key, error: describeError(error) }, 'an answer could not be stored yet')
      await sleep(pauseMs * (0.5 + Math.random() / 2)) // those that wait together come back apart
    }
  }
}

/**
 * Stores the text of running answers once per second, which also says that their process is alive. Ends those that another
 * process was asked to stop, and marks answers of processes that crashed. Returns a function that ends all this.
 */
export function startKeeping({ store, log }: KeepOptions, running: ReadonlyMap<string, Answer>): () => void {
  const { saveSmall, saveLarge } = createSaver({ store, log })
  const endAsked = () => endStopped(store, running)
  const sweep = () => store.answers.interruptAbandoned(abandonedAfterMs)
  const warn = (message: string) => (error: unknown) => log.warn({ error: describeError(error) }, message)
  const ends = [
    repeat(progressIntervalMs, () => saveSmall(running.values()), warn('running answers could not be stored')),
    repeat(progressIntervalMs, () => saveLarge(running.values()), warn('large answers could not be stored')),
    repeat(stopIntervalMs, endAsked, warn('requests to stop could not be read')),
    repeat(sweepIntervalMs, sweep, warn('abandoned answers could not be marked')),
  ]
  return () => {
    for (const end of ends) end()
  }
}

async function endStopped(store: Store, running: ReadonlyMap<string, Answer>): Promise<void> {
  if (running.size === 0) return
  for (const id of await store.answers.listStopRequests()) {
    running.get(id)?.controller.abort(new AnswerEndedError('stopped'))
  }
}
