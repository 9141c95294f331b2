import { setTimeout as sleep } from 'node:timers/promises'
import { createRequests } from './exchange.ts'
import type { Load } from './plan.ts'
import { createQueries } from './queries.ts'
import { createSchedule } from './schedule.ts'
import { type Counts, createTally, type LoadResult } from './tally.ts'

const pauseMs = 1000 // after a refusal or failure; otherwise a client would send thousands of requests per second

/** Runs a load, and resolves when all requests have ended or were abandoned. Reports the counts every 100 ms. */
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
    if (schedule.isOver()) clearInterval(starter) // avoids a thousand useless timer events per second
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
