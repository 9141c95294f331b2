import { setTimeout as sleep } from 'node:timers/promises'
import { createRequests } from './exchange.ts'
import { createQueries } from './queries.ts'
import { createSchedule } from './schedule.ts'
import { type Counts, createTally, type LoadResult } from './tally.ts'

export type Load = {
  /** Of a server, or of a database: then each client has a connection of its own, and queries it. */
  url: string
  /** Chats with an answer of so many tokens; or, with `path`, reads of that path, whose bodies must all be alike. */
  tokens: number
  intervalMs: number
  path?: string
  /** A closed loop: so many clients, who begin over `rampMs` and ask again when their answer has ended. */
  clients: number
  rampMs: number
  /** What a client waits between an answer and its next question. */
  thinkMs?: number
  /** A fixed rate instead: so many a second, whether or not others have ended. */
  perSecond?: number
  /** Nobody asks after that. */
  seconds: number
  /** What still runs so long after that is given up. By default the length of an answer and 15 s. */
  patienceMs?: number
}

const pauseMs = 1000 // of a client that was refused or failed: without it, it would ask thousands of times a second

/** Puts a load on a server, and resolves when all of it has ended, or is given up. Tells the counts every 100 ms. */
export async function runLoad(load: Load, onProgress: (counts: Counts) => void = () => {}): Promise<LoadResult> {
  const { perSecond, seconds, tokens, intervalMs, thinkMs = 0 } = load
  const isLoop = perSecond === undefined
  const schedule = isLoop
    ? createSchedule(load.clients, load.rampMs / load.clients)
    : createSchedule(Math.round(perSecond * seconds), 1000 / perSecond)
  const tally = createTally()
  const { counts } = tally
  const work = load.url.startsWith('postgres') ? createQueries(load, tally) : createRequests(load, tally)
  const startedAt = performance.now()
  const endsAt = startedAt + seconds * 1000
  const isEnding = () => performance.now() > endsAt

  const start = async (firstAt: number) => {
    const ask = work.createSession()
    let intendedAt = firstAt
    do {
      counts.started += 1
      counts.open += 1
      const isGood = await ask(intendedAt)
      counts.open -= 1
      if (isLoop && (thinkMs > 0 || !isGood) && !isEnding()) await sleep(isGood ? thinkMs : pauseMs)
      intendedAt = performance.now()
    } while (isLoop && !isEnding())
  }
  const { patienceMs = tokens * intervalMs + 15_000 } = load
  const ended = Promise.withResolvers<void>()
  const starter = setInterval(() => {
    for (const due of schedule.takeDue(performance.now() - startedAt)) void start(startedAt + due)
    if (schedule.isOver()) clearInterval(starter) // a thousand turns a second for nothing
  }, 1)
  const reporter = setInterval(() => {
    onProgress(counts)
    if ((counts.open === 0 && isEnding()) || performance.now() > endsAt + patienceMs) ended.resolve()
  }, 100)
  await ended.promise
  clearInterval(starter)
  clearInterval(reporter)
  work.close()
  if (counts.open > 0) tally.fail('unfinished', counts.open)
  return tally.summarize()
}
