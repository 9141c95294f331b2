import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { deadLetterQueue, type Executor, ingestQueue, prepareTurns, sendJob } from './jobs.ts'
import { ensureQueue, startQueue } from './queue.ts'
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
  const [ours, theirs] = [
    await readJob(id),
    await readJob(await queue.send(ingestQueue, data, { group: { id: ingestQueue } })),
  ]
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

describe('owners take turns', () => {
  const turns = 'greet' // a queue of its own for each test
  beforeEach(() => ensureQueue(queue, turns))
  afterEach(() => queue.deleteQueue(turns))

  const send = async (owner: string, count = 1) => {
    for (let n = 0; n < count; n += 1) await sendJob(db, turns, { owner })
  }
  /** Runs all jobs one after another, and returns their owners, such as "ada bob". */
  const runAll = async (run = queue.complete.bind(queue)) => {
    const owners: string[] = []
    for (;;) {
      const [job] = await queue.fetch<{ owner: string }>(turns)
      if (!job) return owners.join(' ')
      owners.push(job.data.owner)
      await run(turns, job.id)
    }
  }
  const fetchOne = async () => (await queue.fetch(turns))[0]?.id ?? ''

  it('one job each, however many the first has queued', async () => {
    await send('ada', 5)
    await send('bob', 2)
    await send('eve')
    expect(await runAll()).toBe('ada bob eve ada bob ada ada ada')
  })

  it('and a newcomer is next, even after many jobs have run', async () => {
    await send('ada', 9)
    for (let n = 0; n < 5; n += 1) await queue.complete(turns, await fetchOne())
    await send('bob', 3)
    await send('ada')
    expect(await runAll()).toBe('ada bob ada bob ada bob ada ada')
  })

  it('and jobs that run do not count against their owner', async () => {
    await send('ada', 9)
    for (let n = 0; n < 9; n += 1) await fetchOne()
    await send('bob', 3)
    await send('ada')
    expect(await runAll()).toBe('bob ada bob bob')
  })

  it('and jobs that are retried do not overtake a newcomer', async () => {
    await send('ada', 4)
    expect(await runAll(async (name, id) => queue.fail(name, id))).toBe('ada ada ada ada')
    await send('bob')
    await db.execute(sql`update pgboss.job set start_after = now() where name = ${turns}`)
    expect(await runAll()).toBe('ada bob ada ada ada')
  })

  it('and jobs of parallel transactions get different turns', async () => {
    let other: Promise<void> | undefined
    await db.transaction(async (tx) => {
      await sendJob(tx, turns, { owner: 'ada' })
      other = send('ada')
      const isWaiting = async () =>
        (await tx.execute(sql`select from pg_locks where locktype = 'advisory' and not granted`)).length > 0
      await Promise.race([other, expect.poll(isWaiting).toBe(true)])
    })
    await other
    const jobs = await db.execute(sql`select priority from pgboss.job where name = ${turns} order by priority`)
    expect([...jobs]).toEqual([{ priority: -1 }, { priority: 0 }])
  })

  it('and jobs without an owner count as one owner’s', async () => {
    await sendJob(db, turns, { owner: undefined })
    await sendJob(db, turns, { owner: undefined })
    await send('bob')
    expect(await runAll()).toBe(' bob ')
  })
})

it('documents that an earlier version has queued take turns, too', async () => {
  await db.execute(sql`insert into pgboss.job (name, data) select ${ingestQueue}, jsonb_build_object('owner', owner)
    from unnest(array['ada', 'ada', 'ada', 'bob']) as owner`)
  await prepareTurns(db)
  await prepareTurns(db)
  const jobs =
    await db.execute(sql`select group_id, priority from pgboss.job where name = ${ingestQueue} and data ? 'owner'
    order by priority desc, group_id`)
  expect([...jobs].map(Object.values)).toEqual([
    ['ada', 0],
    ['bob', 0],
    ['ada', -1],
    ['ada', -2],
  ])
})

/** How many rows of jobs the transaction's backend has read, and not yet reported. */
async function countRead(tx: Executor): Promise<number> {
  const [row] = await tx.execute<{ rows: number }>(sql`select sum(seq_tup_read + idx_tup_fetch)::int as rows
    from pg_stat_xact_user_tables where schemaname = 'pgboss' and relname like 'job%'`)
  return row?.rows ?? Number.NaN
}

it('sending reads a few rows, and fetching past an owner takes milliseconds, while many jobs of an owner wait', async ({
  annotate,
}) => {
  const many = 20_000
  await ensureQueue(queue, 'long')
  await db.execute(sql`insert into pgboss.job (name, data, group_id, priority)
    select 'long', '{"owner":"ada"}', 'ada', -n from generate_series(1, ${many}) as n`)
  await db.execute(sql`analyze pgboss.job`)
  for (const owner of ['ada', 'bob']) {
    const read = await db.transaction(async (tx) => {
      const before = await countRead(tx) // of earlier transactions: a backend reports its counts once per second
      await sendJob(tx, 'long', { owner })
      return (await countRead(tx)) - before
    })
    expect(read).toBeLessThan(20)
  }
  const startedAt = performance.now()
  const ignoreGroups = ['ada', 'bob'] // what a worker sends whose slots for these owners are taken
  expect(await queue.fetch('long', { ignoreGroups })).toEqual([])
  await annotate(`a fetch that skips ${many} jobs: ${Math.round(performance.now() - startedAt)} ms`)
})
