import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { connect, type Db } from './client.ts'
import { describeDatabaseError } from './errors.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 8 })
const killer = connect({ url: database.directDatabaseUrl, poolSize: 1, applicationName: 'killer' })
await killer.db.execute(sql`create table ledger (id int)`)

afterAll(async () => {
  await Promise.all([close(), killer.close()])
  await database.drop()
})

const note = (on: Pick<Db, 'execute'>, id: number) => on.execute(sql`insert into ledger values (${id})`)

/** The kinds of work, and how often an id may be in the ledger after success and after failure. */
const kinds = [
  { succeeds: [1], fails: [0, 1], work: async (id: number) => void (await note(db, id)) },
  {
    succeeds: [2],
    fails: [0, 2],
    work: (id: number) =>
      db.transaction(async (tx) => {
        await note(tx, id)
        await sleep(id % 5)
        await note(tx, id)
      }),
  },
  {
    succeeds: [],
    fails: [0],
    work: (id: number) =>
      db.transaction(async (tx) => {
        await note(tx, id)
        const late = sleep(id % 5).then(() => note(tx, id)) // often after the rollback
        await Promise.all([late, tx.execute(sql`select 1 / 0`)])
      }),
  },
]

it('work is atomic and stays in its own transaction while backends are killed', async () => {
  const end = performance.now() + 3000
  const outcomes: { id: number; code: string | undefined; allowed: number[] }[] = []
  let made = 0

  async function work() {
    while (performance.now() < end) {
      const id = ++made
      const kind = kinds[id % kinds.length]
      if (!kind) throw new Error('there are three')
      await kind.work(id).then(
        () => outcomes.push({ id, code: undefined, allowed: kind.succeeds }),
        (error) => outcomes.push({ id, code: describeDatabaseError(error)?.code, allowed: kind.fails }),
      )
    }
  }
  async function kill() {
    while (performance.now() < end) {
      await killer.db.execute(sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and usename = current_user and application_name <> 'killer' order by random() limit 1`)
      await sleep(50)
    }
  }
  await Promise.all([kill(), ...Array.from({ length: 16 }, work)])

  const rows = await killer.db.execute<{ id: number; times: number; transaction: string }>(sql`
    select id, count(*)::int as times, xmin::text as transaction from ledger group by id, xmin::text`)
  const times = new Map(rows.map((row) => [row.id, row.times]))
  expect(outcomes.filter(({ id, allowed }) => !allowed.includes(times.get(id) ?? 0))).toEqual([])
  // One transaction per id and one id per transaction.
  expect(times.size).toBe(rows.length)
  expect(new Set(rows.map(({ transaction }) => transaction)).size).toBe(rows.length)
  // The test was effective: transactions were interrupted, and others continued.
  expect(outcomes.map(({ code }) => code)).toEqual(expect.arrayContaining([undefined, '22012', 'CONNECTION_CLOSED']))
})
