import { randomUUID } from 'node:crypto'
import { eq, sql } from 'drizzle-orm'
import { afterAll, beforeEach, expect, it } from 'vitest'
import { connect } from './client.ts'
import { owners as ownersTable, usage as usageTable } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 10 })
const { owners, usage } = createStore(db)
const [ada, bob] = [await owners.ensure('ada'), await owners.ensure('bob')]
afterAll(async () => {
  await close()
  await database.drop()
})
beforeEach(async () => {
  await db.delete(usageTable)
})

const freshMs = 5000
const minute = new Date('2026-11-22T10:15:00Z')
const [here, there, elsewhere] = [randomUUID(), randomUUID(), randomUUID()]

/** Returns the usage of an owner as seen by an idle process. */
const ask = async (owner: string, at = minute) =>
  (await usage.sync(elsewhere, [{ owner, minute: at, requests: 0, streams: 0 }], freshMs)).get(owner)

const age = (processId: string, ms: number) =>
  db
    .update(usageTable)
    .set({ updatedAt: sql`now() - ${ms} * interval '1 millisecond'` })
    .where(eq(usageTable.processId, processId))

it('returns the usage per owner on all other processes', async () => {
  const one = { owner: ada, minute, requests: 3, streams: 1 }
  expect(await usage.sync(here, [one], freshMs)).toEqual(new Map([[ada, { requests: 0, streams: 0 }]]))
  const two = [
    { owner: ada, minute, requests: 5, streams: 2 },
    { owner: bob, minute, requests: 7, streams: 0 },
  ]
  expect(await usage.sync(there, two, freshMs)).toEqual(
    new Map([
      [ada, { requests: 3, streams: 1 }],
      [bob, { requests: 0, streams: 0 }],
    ]),
  )
  expect(await ask(ada)).toEqual({ requests: 8, streams: 3 })
  await usage.sync(here, [{ ...one, requests: 4, streams: 0 }], freshMs)
  expect(await ask(ada)).toEqual({ requests: 9, streams: 2 })
})

it('counts requests in their minute only, including those of a crashed process', async () => {
  await usage.sync(here, [{ owner: ada, minute, requests: 3, streams: 1 }], freshMs)
  await age(here, freshMs + 1000)
  expect(await ask(ada)).toEqual({ requests: 3, streams: 0 })
  expect(await ask(ada, new Date('2026-11-22T10:16:00Z'))).toEqual({ requests: 0, streams: 0 })
})

it('accepts a deleted owner, and stores the others', async () => {
  const gone = randomUUID()
  const own = [gone, ada].map((owner) => ({ owner, minute, requests: 2, streams: 0 }))
  await usage.sync(here, own, freshMs)
  expect(await ask(gone)).toEqual({ requests: 0, streams: 0 })
  expect(await ask(ada)).toEqual({ requests: 2, streams: 0 })
})

it('sweeps rows that were not updated for two minutes', async () => {
  for (const processId of [here, there])
    await usage.sync(processId, [{ owner: ada, minute, requests: 1, streams: 1 }], freshMs)
  await age(here, 121_000)
  await usage.sweep()
  expect(await db.select({ processId: usageTable.processId }).from(usageTable)).toEqual([{ processId: there }])
})

it('syncs 1,000 owners in one statement with eight processes', async ({ annotate }) => {
  const names = Array.from({ length: 1000 }, (_, index) => ({ name: `owner-${index}` }))
  const many = (await db.insert(ownersTable).values(names).returning()).map(({ id }) => id)
  const own = many.map((owner) => ({ owner, minute, requests: 9, streams: 2 }))
  for (let other = 0; other < 7; other += 1) await usage.sync(randomUUID(), own, freshMs)
  const durations: number[] = []
  for (let round = 0; round < 5; round += 1) {
    const startedAt = performance.now()
    const others = await usage.sync(here, own, freshMs)
    durations.push(performance.now() - startedAt)
    expect(others.get(many[0] ?? '')).toEqual({ requests: 63, streams: 14 })
  }
  const [, , median = 0] = durations.sort((a, b) => a - b)
  await annotate(`syncing the usage of 1,000 owners with 8 processes: ${median.toFixed(0)} ms, once per second`)
})
