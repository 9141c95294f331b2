import { connect, createStore, createUsageRecorder, sendJob, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createExtract } from '@repo/extract'
import { toLlm } from '@repo/llm'
import { createLogger } from '@repo/telemetry'
import { createTestModels } from '@repo/testing/test-models'
import { afterAll, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { Job } from './job.ts'
import { startJobs } from './start-jobs.ts'

const test = await createTestDatabase()
const { db, close } = connect({ url: test.databaseUrl, poolSize: 2 })
const context = {
  db,
  store: createStore(db),
  llm: toLlm(createTestModels()),
  usage: createUsageRecorder(),
  extract: createExtract(),
  log: createLogger('silent'),
}
const Data = z.object({ owner: z.string() })
const concurrency = 2

afterAll(async () => {
  await close()
  await test.drop()
})

/** Starts two workers whose jobs run until `finish` is called for their owner. */
async function startTwo(name: string) {
  const running: { owner: string; end: () => void }[] = []
  const started: string[] = []
  const run: Job['run'] = async (_context, data) => {
    const { owner } = Data.parse(data)
    const { promise, resolve } = Promise.withResolvers<void>()
    const job = { owner, end: resolve }
    started.push(owner)
    running.push(job)
    await promise
    running.splice(running.indexOf(job), 1)
  }
  const jobs = [{ name, run, options: {}, pollSeconds: 0.5 }]
  const start = () => startJobs({ databaseUrl: test.databaseUrl, context, jobs, concurrency })
  const workers = [await start(), await start()]
  const finish = (owner: string) => {
    for (const job of running.filter((job) => job.owner === owner)) job.end()
  }
  onTestFinished(async () => {
    const stopping = Promise.all(workers.map(({ stop }) => stop(5000)))
    for (const { end } of running) end()
    await stopping
  })
  const owners = () =>
    running
      .map(({ owner }) => owner)
      .toSorted()
      .join(' ')
  return { owners, started, finish, send: (owner: string) => sendJob(db, name, { owner }) }
}

const countStates = async (name: string) => {
  const rows = await db.execute<{ state: string; count: number }>(
    sql`select state::text, count(*)::int as count from pgboss.job where name = ${name} group by 1 order by 1`,
  )
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]))
}

it('an owner alone uses all slots, and another owner’s job starts although slow ones run and wait', async () => {
  const { owners, send, finish } = await startTwo('slow')
  for (let n = 0; n < 17; n += 1) await send('ada')
  await expect.poll(owners).toBe('ada ada ada ada')
  await send('bob')
  await expect.poll(owners).toBe('ada ada ada ada bob')
  // Jobs beyond an owner's share that were fetched in the meantime are back in the queue.
  await expect.poll(() => countStates('slow')).toEqual({ active: 5, created: 13 })
  finish('bob')
  await expect.poll(owners).toBe('ada ada ada ada')
  finish('ada')
  await expect.poll(() => countStates('slow')).toEqual({ active: 4, completed: 5, created: 9 })
})

it('owners whose jobs fill all slots take turns', async () => {
  const { started, owners, send, finish } = await startTwo('turns')
  for (let n = 0; n < 30; n += 1) await send('ada')
  await expect.poll(owners).toBe('ada ada ada ada')
  for (let n = 0; n < 8; n += 1) await send('bob')
  await expect.poll(owners).toBe('ada ada ada ada bob bob')
  await send('eve')
  finish('bob') // both slots that `ada` may not take
  await expect.poll(() => started.includes('eve')).toBe(true)
  expect(started.slice(4).join(' ')).toMatch(/^bob bob (bob eve|eve bob)/)
})
