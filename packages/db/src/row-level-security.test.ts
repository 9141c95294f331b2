import { eq, sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { connect } from './client.ts'
import { conversations } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 1 })
const store = createStore(db)
afterAll(async () => {
  await close()
  await database.drop()
})

const queries = 1000
const ada = await store.owners.ensure('ada')
const mallory = await store.owners.ensure('mallory')
const turn = { conversationId: 'c', title: 'Ada’s', questionId: 'q', question: 'Ada’s?', answerId: 'a' }
await store.turns.open(ada, turn)

/** Runs a query under a policy that reads the owner from a setting, which must end with the transaction. */
const findBehindPolicy = (owner: string) =>
  db.transaction(async (tx) => {
    await tx.execute(sql`select set_config('app.owner', ${owner}, true)`)
    return tx.select({ id: conversations.id }).from(conversations).where(eq(conversations.id, turn.conversationId))
  })

/** Microseconds per query, both elapsed time and this process's CPU time. */
async function measure(query: () => Promise<unknown>) {
  for (let warmUp = 0; warmUp < 50; warmUp += 1) await query()
  const [startedAt, startedCpu] = [performance.now(), process.cpuUsage()]
  for (let done = 0; done < queries; done += 1) await query()
  const { user, system } = process.cpuUsage(startedCpu)
  return {
    wall: Math.round(((performance.now() - startedAt) * 1000) / queries),
    cpu: Math.round((user + system) / queries),
  }
}

/** Row-level security is off, see docs/decisions/0011. */
it('row-level security would also hide rows, but costs one transaction per query', async ({ annotate }) => {
  const filter = await measure(() => store.conversations.read(ada, turn.conversationId, 1))
  await db.execute(sql`alter table conversations enable row level security`)
  await db.execute(sql`alter table conversations force row level security`)
  await db.execute(sql`create policy owner_alone on conversations
    using (owner_id = nullif(current_setting('app.owner', true), '')::uuid)`)
  expect(await findBehindPolicy(ada)).toEqual([{ id: turn.conversationId }])
  expect(await findBehindPolicy(mallory)).toEqual([])
  const policy = await measure(() => findBehindPolicy(ada))
  await annotate(
    `one row through PgBouncer: ${filter.wall} µs and ${filter.cpu} µs of CPU with the filter, ` +
      `${policy.wall} µs and ${policy.cpu} µs with row-level security (4 round trips instead of 1)`,
  )
})
