import { describeDatabaseError, dropParts, measureParts, type Progress, type Source, type Store } from '@repo/db'
import { describeError } from '@repo/telemetry'
import type { FastifyBaseLogger } from 'fastify'
import type { Answer } from './answer.ts'
import { AnswerEndedError } from './answer-end.ts'

const rowsAtOnce = 1000 // per second and process: ten thousand kept 19 of 20 connections busy (bench `ten-thousand`)
const maxRounds = 5 // seconds until each answer is stored again; a third of the time until it counts as abandoned
const statementBytes = 512 * 1024 // of new text per statement: about 5 ms of the event loop as JSON
const slowAtOnce = 3 // of ten connections: the others stay free for everything else

/** What the database is known to contain of an answer: its position, and the size of its parts in bytes. */
type Known = { position: number; bytes: number; sources?: Source[] }

/**
 * Stores what is new in running answers. When the outcome is unknown, it is sent again from the same position. An answer
 * whose statement timed out gets its own statement, so that it neither delays nor fails the others.
 */
export function createSaver({ store, log }: { store: Store; log: FastifyBaseLogger }) {
  const known = new WeakMap<Answer, Known>()
  const lastRound = new WeakMap<Answer, number>() // when each was last sent
  const timedOut = new WeakSet<Answer>()
  let round = 0

  const countNew = (answer: Answer) => answer.bytes - (known.get(answer)?.bytes ?? 0)

  const save = async (answers: Answer[]) => {
    const steps = answers.map((answer) => takeStep(answer, known.get(answer)))
    const saved = await saveDivided(
      store,
      steps.map(({ progress }) => progress),
      log,
    )
    for (const { answer, next } of steps) {
      if (!saved.has(answer.key.answerId)) continue
      known.set(answer, next)
      timedOut.delete(answer)
      answer.backlog.markStored(next.bytes)
    }
    await endLost(
      store,
      answers.filter(({ key }) => !saved.has(key.answerId)),
    )
  }

  /** Saves answers in one statement. After a timeout, each gets its own statement in the next second. */
  const saveAll = (answers: Answer[]) =>
    save(answers).catch((error) => {
      if (!isTimeout(error)) throw error
      for (const answer of answers) timedOut.add(answer)
      log.warn({ answers: answers.length, error: describeError(error) }, 'running answers could not be stored together')
    })

  return {
    /**
     * Stores the progress of all answers but slow ones. If there are too many for one second, stores those that have
     * waited longest.
     */
    saveTogether: async (running: Iterable<Answer>): Promise<void> => {
      const others = [...running].filter((answer) => !timedOut.has(answer))
      if (others.length === 0) return
      round += 1
      const waited = others.sort((a, b) => (lastRound.get(a) ?? 0) - (lastRound.get(b) ?? 0))
      const chosen = waited.slice(0, Math.max(rowsAtOnce, Math.ceil(others.length / maxRounds)))
      for (const answer of chosen) lastRound.set(answer, round)
      for (const answers of toStatements(chosen, countNew)) await saveAll(answers)
    },

    /** Stores the progress of each slow answer. Rejects with the first error after all have been tried. */
    saveSingly: async (running: Iterable<Answer>): Promise<void> => {
      const slow = [...running].filter((answer) => timedOut.has(answer)).values()
      const errors: unknown[] = []
      const saveNext = async () => {
        for (const answer of slow) await save([answer]).catch((error) => errors.push(error))
      }
      await Promise.all(Array.from({ length: slowAtOnce }, saveNext))
      if (errors.length > 0) throw errors[0]
    },
  }
}

/** Splits answers so that the new text of each statement stays within the limit. */
function* toStatements(answers: Answer[], countNew: (answer: Answer) => number): Generator<Answer[], undefined> {
  let statement: Answer[] = []
  let bytes = 0
  for (const answer of answers) {
    const added = countNew(answer)
    if (statement.length > 0 && bytes + added > statementBytes) {
      yield statement
      statement = []
      bytes = 0
    }
    statement.push(answer)
    bytes += added
  }
  if (statement.length > 0) yield statement
}

/** Returns what to send, and what the database will contain after it. */
function takeStep(answer: Answer, { position, sources: stored }: Known = { position: answer.start, bytes: 0 }) {
  const { owner, key, sources, bytes } = answer
  const parts = dropParts(answer.parts, position)
  const progress: Progress = { owner, ...key, start: position, parts, ...(sources !== stored && { sources }) }
  const next: Known = { position: position + measureParts(parts), bytes, sources }
  return { answer, progress, next }
}

/** Saves rows by bisection, so that one row that the database rejects does not block the others. */
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

function isTimeout(error: unknown): boolean {
  return describeDatabaseError(error)?.code === '57014'
}

/** Ends answers whose rows could not be updated because another process deleted or stopped them. */
async function endLost(store: Store, answers: Answer[]): Promise<void> {
  if (answers.length === 0) return
  const beyond = 2 ** 31 - 2 // so that nothing but the status is read
  const positions = answers.map(({ owner, key }) => ({ owner, ...key, position: beyond, characters: beyond }))
  const stored = new Map((await store.answers.read(positions)).map(({ index, status }) => [index, status]))
  for (const [index, { controller }] of answers.entries()) {
    const status = stored.get(index)
    // Another process may have marked it as abandoned; it still runs here.
    const isUnfinished = status === 'streaming' || status === 'interrupted'
    if (!isUnfinished) controller.abort(new AnswerEndedError('stopped'))
  }
}
