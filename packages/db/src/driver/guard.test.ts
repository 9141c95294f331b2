import { once } from 'node:events'
import { createServer, get } from 'node:http'
import { get as secureGet } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { connect } from '../client.ts'
import { createTestDatabase } from '../testing.ts'
import { assertNoConnectionHeld, ConnectionHeldError } from './guard.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 4 })

afterAll(async () => {
  await close()
  await database.drop()
})

/** A fake model call: waits a moment, then checks the guard. */
async function callModel() {
  await sleep(1)
  assertNoConnectionHeld()
  return 'answer'
}

async function summarize(texts: string[]) {
  return Promise.all(texts.map(async () => callModel()))
}

describe('inside a transaction a model call', () => {
  const refused: Record<string, () => Promise<unknown>> = {
    'made directly': () => db.transaction(async () => assertNoConnectionHeld()),
    'after a query': () =>
      db.transaction(async (tx) => {
        await tx.execute(sql`select 1`)
        await callModel()
      }),
    'in called functions, in parallel': () => db.transaction(() => summarize(['a', 'b'])),
    'in a nested transaction': () => db.transaction((tx) => tx.transaction(() => callModel())),
    'after a nested transaction': () =>
      db.transaction(async (tx) => {
        await tx.transaction((nested) => nested.execute(sql`select 1`))
        await callModel()
      }),
    'after a timer': () =>
      db.transaction(async () => {
        await sleep(5)
        await callModel()
      }),
    'in the callback of a timer': () =>
      db.transaction(() => new Promise((resolve, reject) => setTimeout(() => callModel().then(resolve, reject), 1))),
    'with options for the transaction': () => db.transaction(() => callModel(), { accessMode: 'read only' }),
  }

  it('may not send a request either, however it is made', async () => {
    const seen: (string | undefined)[] = []
    const server = createServer(({ url }, response) => response.end(String(seen.push(url)))).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const origin = `http://127.0.0.1:${Object(server.address()).port}`
    const requests: Record<string, (url: string) => Promise<unknown>> = {
      fetch: (url) => fetch(url).catch(({ cause }) => Promise.reject(cause)),
      'fetch with a body': (url) =>
        fetch(url, { method: 'POST', body: 'a' }).catch(({ cause }) => Promise.reject(cause)),
      'node:http': (url) => once(get(url), 'response'),
      'node:https': () => once(secureGet('https://127.0.0.1:9/'), 'response'),
    }
    for (const [name, request] of Object.entries(requests)) {
      await expect(
        db.transaction(() => request(`${origin}/inside`)),
        name,
      ).rejects.toThrow(ConnectionHeldError)
    }
    await db.transaction(async () => {})
    expect((await fetch(`${origin}/outside`)).status).toBe(200)
    expect(seen).toEqual(['/outside'])
  })

  it.each(Object.entries(refused))('throws: %s', async (_, work) => {
    await expect(work()).rejects.toMatchObject({ name: 'ConnectionHeldError', code: 'connection_held' })
  })

  it('rolls the transaction back', async () => {
    await db.execute(sql`create table half_written (text text)`)
    const work = db.transaction(async (tx) => {
      await tx.execute(sql`insert into half_written values ('half')`)
      await callModel()
    })
    await expect(work).rejects.toThrow(ConnectionHeldError)
    expect(await db.execute(sql`select * from half_written`)).toHaveLength(0)
  })
})

describe('a model call is allowed', () => {
  it('outside transactions, between them and after a failed one', async () => {
    await callModel()
    expect(await db.transaction(async () => 1)).toBe(1)
    await callModel()
    await expect(db.transaction(() => Promise.reject(new Error('failed')))).rejects.toThrow('failed')
    expect(await callModel()).toBe('answer')
  })

  it('in work that started before the transaction', async () => {
    const opened = Promise.withResolvers<void>()
    const called = Promise.withResolvers<string>()
    const parallel = opened.promise.then(callModel).then(called.resolve, called.reject)
    await db.transaction(async () => {
      opened.resolve()
      expect(await called.promise).toBe('answer')
    })
    await parallel
  })

  it('in work that outlives its transaction', async () => {
    const ended = Promise.withResolvers<void>()
    const later = await db.transaction(async () => ({ answer: ended.promise.then(callModel) }))
    ended.resolve()
    expect(await later.answer).toBe('answer')
  })
})

it('takes less than a microsecond per call', async ({ annotate }) => {
  const calls = 1_000_000
  const before = process.cpuUsage()
  for (let call = 0; call < calls; call++) assertNoConnectionHeld()
  const { user, system } = process.cpuUsage(before)
  const costUs = (user + system) / calls
  await annotate(`guard: ${costUs.toFixed(3)} µs of CPU per call`)
  expect(costUs).toBeLessThan(1)
})
