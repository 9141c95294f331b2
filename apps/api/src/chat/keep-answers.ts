import { setTimeout as sleep } from 'node:timers/promises'
import { describeDatabaseError, type Progress, type Source, type Store } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import { repeat } from '../repeat.ts'
import type { Answer, Outcome } from './answer.ts'
import { AnswerEndedError, toOutcome } from './write-answer.ts'

export type KeepOptions = { store: Store; log: FastifyBaseLogger }

const progressIntervalMs = 1000 // what a crash can lose of an answer's text, while no more than a thousand run
const rowsAtOnce = 1000 // a second and a process: ten thousand kept 19 of 20 connections busy (bench `ten-thousand`)
const maxTurns = 5 // seconds until each answer is stored again, however many run; a third of what is taken for a death
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
 * Stores what there is of running answers, a thousand of them in one statement a second, which also says that they live; ends those that somebody asked another process to stop; and marks answers of processes that died. Returns a
 * function that ends it.
 */
export function startKeeping({ store, log }: KeepOptions, running: ReadonlyMap<string, Answer>): () => void {
  const saveProgress = createSaver({ store, log })
  const save = () => saveProgress([...running.values()])
  const heed = () => endStopped(store, running)
  const sweep = () => store.answers.interruptAbandoned(abandonedAfterMs)
  const tell = (what: string) => (error: unknown) => log.warn({ error: describeError(error) }, what)
  const ends = [
    repeat(progressIntervalMs, save, tell('running answers could not be stored')),
    repeat(stopIntervalMs, heed, tell('requests to stop could not be read')),
    repeat(sweepIntervalMs, sweep, tell('abandoned answers could not be marked')),
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

/** What the database has of an answer: its text's length in UTF-16 units, and in bytes of UTF-8. */
type Known = { length: number; bytes: number; sources?: Source[] }

/**
 * Sends what is new since the last time; everything when it is not known what the database has. Of very many answers those
 * that have waited longest.
 */
function createSaver({ store, log }: KeepOptions) {
  const known = new WeakMap<Answer, Known>()
  const turns = new WeakMap<Answer, number>() // when each was last sent
  let turn = 0

  return async (running: Answer[]) => {
    if (running.length === 0) return
    turn += 1
    const waited = running.sort((a, b) => (turns.get(a) ?? 0) - (turns.get(b) ?? 0))
    const answers = waited.slice(0, Math.max(rowsAtOnce, Math.ceil(running.length / maxTurns)))
    const steps = answers.map((answer) => takeStep(answer, known.get(answer)))
    for (const answer of answers) {
      turns.set(answer, turn)
      known.delete(answer) // until it is sure that this has been stored
    }
    const saved = await saveDivided(
      store,
      steps.map(({ progress }) => progress),
      log,
    )
    for (const { answer, next } of steps) if (saved.has(answer.key.answerId)) known.set(answer, next)
    await endLost(
      store,
      answers.filter((answer) => !known.has(answer)),
    )
  }
}

/** What to send, and what the database has then. */
function takeStep(answer: Answer, { length, bytes, sources: stored }: Known = { length: 0, bytes: 0 }) {
  const { owner, key, sources } = answer
  const text = answer.text()
  const addition = text.slice(length)
  const progress: Progress = { owner, ...key, after: bytes, addition, ...(sources !== stored && { sources }) }
  const next: Known = { length: text.length, bytes: bytes + Buffer.byteLength(addition), sources }
  return { answer, progress, next }
}

/** One row that the database refuses must not keep it from the others: it is found by halves. */
async function saveDivided(store: Store, progress: Progress[], log: FastifyBaseLogger): Promise<Set<string>> {
  try {
    return await store.answers.saveProgress(progress)
  } catch (error) {
    if (describeDatabaseError(error)?.unavailable !== false) throw error
    if (progress.length === 1) {
      log.error({ answerId: progress[0]?.answerId, error: describeError(error) }, 'an answer cannot be stored')
      return new Set()
    }
    const half = Math.ceil(progress.length / 2)
    const first = await saveDivided(store, progress.slice(0, half), log)
    return first.union(await saveDivided(store, progress.slice(half), log))
  }
}

/** Ends answers that were not stored because they are not there to be: deleted or stopped, perhaps by another process. */
async function endLost(store: Store, answers: Answer[]): Promise<void> {
  if (answers.length === 0) return
  const positions = answers.map(({ owner, key }) => ({ owner, ...key, length: 0 }))
  const stored = new Map((await store.answers.read(positions)).map(({ index, status }) => [index, status]))
  for (const [index, { controller }] of answers.entries()) {
    const status = stored.get(index)
    const isRunning = status === 'streaming' || status === 'interrupted'
    if (!isRunning) controller.abort(new AnswerEndedError('stopped'))
  }
}
