import { sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { connect } from './client.ts'
import { deadLetterQueue, ingestQueue, sendJob } from './jobs.ts'
import { startQueue } from './queue.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 2 })
const errors: Error[] = []
const queue = await startQueue(database.databaseUrl, (error) => errors.push(error))

afterAll(async () => {
  await queue.stop({ graceful: false })
  await close()
  await database.drop()
})

const readJob = async (id: string | null) =>
  (await db.execute<Record<string, unknown>>(sql`select * from pgboss.job where id = ${id}`)).at(0)

it('a job is stored exactly as pg-boss stores it', async () => {
  const data = { text: 'It’s "潮"', list: [1] }
  const id = crypto.randomUUID()
  await sendJob(db, ingestQueue, data, id)
  const [ours, theirs] = [await readJob(id), await readJob(await queue.send(ingestQueue, data))]
  const times = ['id', 'created_on', 'start_after', 'keep_until']
  const withoutTimes = (job = {}) => Object.entries(job).filter(([name]) => !times.includes(name))
  expect(withoutTimes(ours)).toEqual(withoutTimes(theirs))
  expect(ours).toMatchObject({ data, dead_letter: deadLetterQueue, retry_backoff: true, heartbeat_seconds: 15 })
  const keptFor = (job: Record<string, unknown> = {}) =>
    Date.parse(`${job.keep_until}`) - Date.parse(`${job.start_after}`)
  expect(keptFor(ours)).toBe(keptFor(theirs))
})

it('a job whose id is there is not added again', async () => {
  const id = crypto.randomUUID()
  await sendJob(db, ingestQueue, { n: 1 }, id)
  await sendJob(db, ingestQueue, { n: 2 }, id)
  expect(await readJob(id)).toMatchObject({ data: { n: 1 } })
})

it('a job is rolled back with its transaction', async () => {
  const id = crypto.randomUUID()
  const sendAndFail = db.transaction(async (tx) => {
    await sendJob(tx, ingestQueue, {}, id)
    throw new Error('no')
  })
  await expect(sendAndFail).rejects.toThrow('no')
  expect(await readJob(id)).toBeUndefined()
})

it('sending to a queue that no worker has created fails', async () => {
  await expect(sendJob(db, 'unheard-of', {})).rejects.toThrow('Queue unheard-of does not exist. Start the worker')
})

it('the queue works through PgBouncer: concurrent fetches return each job once', async () => {
  await Promise.all(Array.from({ length: 40 }, (_, n) => sendJob(db, deadLetterQueue, { n })))
  const fetched: string[] = []
  const take = async () => {
    for (;;) {
      const [job] = await queue.fetch(deadLetterQueue)
      if (!job) return
      fetched.push(job.id)
      await queue.complete(deadLetterQueue, job.id)
    }
  }
  await Promise.all(Array.from({ length: 6 }, take))
  expect([fetched.length, new Set(fetched).size]).toEqual([40, 40])
  expect(errors).toEqual([])
})
