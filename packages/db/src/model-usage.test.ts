import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { connect } from './client.ts'
import { createUsageReport, type UsageRow } from './model-usage.ts'
import { modelUsage, owners as ownersTable } from './schema.ts'
import { createStore } from './store.ts'
import { createTestDatabase } from './testing.ts'
import { createUsageRecorder, type ModelCall } from './usage-recorder.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 10 })
const { owners, usage } = createStore(db)
const [ada, bob] = [await owners.ensure('ada'), await owners.ensure('bob')]
afterAll(async () => {
  await close()
  await database.drop()
})
beforeEach(async () => {
  await db.delete(modelUsage)
})

const toDay = (daysAgo: number) => new Date(Date.now() - daysAgo * 86_400_000).toISOString().slice(0, 10)
const all = { from: toDay(400), to: toDay(0) }
const call: ModelCall = {
  kind: 'chat',
  model: 'gpt',
  usage: { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, reasoningTokens: 2 },
  toolCalls: 1,
}
const once = {
  model: 'gpt',
  kind: 'chat',
  requests: 1,
  inputTokens: 10,
  cachedTokens: 4,
  outputTokens: 5,
  reasoningTokens: 2,
  toolCalls: 1,
  estimated: 0,
}
const countRows = async () => (await db.select().from(modelUsage)).length
const read = async (owner = ada) => usage.read(owner, all, 'model')

/** Stores what a process counted so many days ago, as it would have been stored then. */
async function storeOld(daysAgo: number, processId = randomUUID(), requests = 1) {
  const counts = { inputTokens: 10, cachedTokens: 4, outputTokens: 5, reasoningTokens: 2, toolCalls: 1, estimated: 0 }
  const row = { keyId: '', kind: 'chat' as const, model: 'gpt', processId, day: toDay(daysAgo), requests, ...counts }
  await db.insert(modelUsage).values({ ownerId: ada, ...row })
  return { owner: ada, ...row }
}

it('adds up processes, keys and calls, and separates owners, models and kinds', async () => {
  const [here, there] = [createUsageRecorder(), createUsageRecorder()]
  here.count(ada, 'one', call)
  here.count(ada, 'one', { ...call, isEstimated: true })
  there.count(ada, 'two', call)
  there.count(ada, undefined, { kind: 'embedding', model: 'embed', usage: { inputTokens: 3, outputTokens: 0 } })
  there.count(bob, undefined, call)
  for (const recorder of [here, there]) await recorder.flush(usage.store)
  const embedded = { cachedTokens: 0, outputTokens: 0, reasoningTokens: 0, toolCalls: 0, estimated: 0 }
  expect(await read()).toEqual([
    { day: '', model: 'embed', kind: 'embedding', requests: 1, inputTokens: 3, ...embedded },
    {
      day: '',
      ...once,
      requests: 3,
      inputTokens: 30,
      cachedTokens: 12,
      outputTokens: 15,
      reasoningTokens: 6,
      toolCalls: 3,
      estimated: 1,
    },
  ])
  expect(await read(bob)).toEqual([{ day: '', ...once }])
  const report = await createUsageReport(db).read(all)
  expect(report.map(({ day, owner, model, requests }) => [day, owner, model, requests])).toEqual([
    [toDay(0), 'ada', 'embed', 1],
    [toDay(0), 'ada', 'gpt', 3],
    [toDay(0), 'bob', 'gpt', 1],
  ])
})

it('counts nothing twice when a statement is repeated, runs late or has an unknown outcome', async () => {
  const recorder = createUsageRecorder()
  const sent: UsageRow[][] = []
  const storeAndFail = async (rows: UsageRow[]) => {
    sent.push(structuredClone(rows))
    await usage.store(rows)
    throw new Error('the connection was lost after the commit')
  }
  recorder.count(ada, undefined, call)
  await expect(recorder.flush(storeAndFail)).rejects.toThrow('lost')
  recorder.count(ada, undefined, call)
  await recorder.flush(usage.store)
  for (const rows of sent) await usage.store(rows) // late: fewer calls than are stored
  expect(await read()).toMatchObject([{ requests: 2, inputTokens: 20, toolCalls: 2 }])
  await recorder.flush(async (rows) => expect(rows).toEqual([]))
})

it('shares the statement of the quotas, and leaves out owners that were deleted', async () => {
  const recorder = createUsageRecorder()
  recorder.count(ada, undefined, call)
  recorder.count(randomUUID(), undefined, call)
  const own = [{ owner: ada, minute: new Date(), requests: 3, streams: 1 }]
  await recorder.flush((rows) => usage.sync(randomUUID(), own, 5000, rows))
  expect(await usage.sync(randomUUID(), own, 5000)).toEqual(new Map([[ada, { requests: 3, streams: 1 }]]))
  expect(await read()).toMatchObject([{ requests: 1 }])
  expect(await countRows()).toBe(1)
})

it('begins a row of its own on each day, and after a clock was set back', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.parse(`${toDay(0)}T00:00:01Z`) - 2000 })
  onTestFinished(() => void vi.useRealTimers())
  const recorder = createUsageRecorder()
  for (const step of [2000, -2000, 0]) {
    recorder.count(ada, 'key', call)
    expect(recorder.spent(ada, 'key')).toEqual({ owner: 15, key: 15 })
    await recorder.flush(usage.store)
    vi.setSystemTime(Date.now() + step)
    if (step !== 0) expect(recorder.spent(ada, 'key')).toEqual({ owner: 0, key: 0 })
  }
  vi.useRealTimers()
  expect(await usage.read(ada, all, 'day')).toMatchObject([
    { day: toDay(1), requests: 2 },
    { day: toDay(0), requests: 1 },
  ])
})

it('merges the processes of days that are over, once, however many do it at the same time', async () => {
  for (let n = 0; n < 50; n += 1) await storeOld(3)
  const [recent, yesterday] = [await storeOld(2), await storeOld(1)]
  const merged = await Promise.all(Array.from({ length: 5 }, () => usage.merge()))
  expect(merged.reduce((sum, count) => sum + count, 0)).toBe(50)
  expect(await countRows()).toBe(3)
  await storeOld(3) // of a process that could not store it before
  expect(await usage.merge()).toBe(1)
  expect(await usage.read(ada, all, 'day')).toMatchObject([
    { day: toDay(3), requests: 51, inputTokens: 510, cachedTokens: 204 },
    { day: recent.day, requests: 1 },
    { day: yesterday.day, requests: 1 },
  ])
})

it('does not count rows again of a process that was paused until they were merged', async () => {
  const rows = [await storeOld(3), await storeOld(1)]
  await usage.merge()
  await usage.store(rows.map((row) => ({ ...row, requests: 2 }))) // it goes on
  expect(await usage.read(ada, all, 'day')).toMatchObject([
    { day: toDay(3), requests: 1 },
    { day: toDay(1), requests: 2 },
  ])
})

it('tells a request what other processes have counted today for its owner and key', async () => {
  const [here, there] = [createUsageRecorder(), createUsageRecorder()]
  await owners.addKey(ada, { id: 'limited', secretHash: 'hash', tokensPerDay: 100 })
  await owners.addKey(ada, { id: 'free', secretHash: 'hash' })
  for (const recorder of [here, there]) {
    recorder.count(ada, 'limited', call)
    recorder.count(ada, 'free', call)
    await recorder.flush(usage.store)
  }
  await storeOld(1)
  const ask = async (id: string, isSpending: boolean, hasBudget: boolean) =>
    (await owners.findKey(id, { ...here.spentBy(), isSpending, hasBudget }))?.spent
  expect(await ask('limited', true, false)).toEqual({ owner: 30, key: 15 })
  expect(await ask('free', true, true)).toEqual({ owner: 30, key: 15 })
  expect(await ask('free', true, false)).toBeNull()
  expect(await ask('limited', false, true)).toBeNull()
  expect(here.spent(ada, 'limited')).toEqual({ owner: 30, key: 15 })
  const by = { ...there.spentBy(), isSpending: true }
  expect(await owners.ensureMember('ada', 'acme', by)).toMatchObject({ owner: ada, spent: { owner: 30, key: 0 } })
  expect((await owners.ensureMember('ada', 'acme')).spent).toBeUndefined()
  expect(await owners.ensureMember('new', '', by)).toMatchObject({ spent: null })
})

it('stores 1,000 rows in one statement', async ({ annotate }) => {
  const recorder = createUsageRecorder()
  const names = Array.from({ length: 1000 }, (_, index) => ({ name: `owner-${index}` }))
  const many = await db.insert(ownersTable).values(names).returning()
  for (const { id: owner } of many) recorder.count(owner, undefined, call)
  const startedAt = performance.now()
  await recorder.flush(usage.store)
  await annotate(`storing the usage of 1,000 owners: ${(performance.now() - startedAt).toFixed(0)} ms, once per second`)
  expect(await db.execute(sql`select count(*)::int as count from ${modelUsage}`)).toEqual([{ count: 1000 }])
})
