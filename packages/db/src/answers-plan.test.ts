import { sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { connect } from './client.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

// Every process repeats these statements all the time. Their plans are made once, for any parameters, and must use an
// index even if the table was empty then.

const database = await createTestDatabase()
const name = sql.identifier(new URL(database.directDatabaseUrl).pathname.slice(1))
const setup = connect({ url: database.directDatabaseUrl, poolSize: 1 })
await setup.db.execute(sql`alter database ${name} set plan_cache_mode = force_generic_plan`)
await setup.db.execute(sql`alter database ${name} set enable_seqscan = off`) // the table is too small for indexes
await setup.close()
const { db, close } = connect({ url: database.directDatabaseUrl, poolSize: 1 })
const { answers, owners } = createStore(db)
const owner = await owners.ensure('ada')

afterAll(async () => {
  await close()
  await database.drop()
})

async function countSequentialScans(): Promise<number> {
  await db.execute(sql`select pg_stat_force_next_flush()`) // otherwise a session reports its statistics once per second
  const [row] = await db.execute<{ scans: number }>(
    sql`select seq_scan::int as scans from pg_stat_user_tables where relname = 'messages'`,
  )
  return row?.scans ?? Number.NaN
}

it.each([
  ['listStopRequests', () => answers.listStopRequests()],
  ['interruptAbandoned', () => answers.interruptAbandoned(15_000)],
  ['findRunning', () => answers.findRunning(owner, 'c')],
  ['requestStop', () => answers.requestStop(owner, 'c')],
])('%s reads no whole table', async (_, work) => {
  const before = await countSequentialScans()
  await work()
  expect((await countSequentialScans()) - before).toBe(0)
})
