import { EventEmitter, once } from 'node:events'
import { get } from 'node:http'
import { get as getSecure } from 'node:https'
import { Readable } from 'node:stream'
import { Kysely, sql as kyselySql, PostgresDialect } from 'kysely'
import pg from 'pg'
import postgres from 'postgres'
import { request } from 'undici'
import { afterAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { ConnectionHeldError, createGuard, type GuardOptions, type Report } from './index.ts'
import { startModel } from './testing-model.ts'

const url = process.env.DATABASE_URL ?? ''
const reports: Report[] = []
const guard = createGuard({ mode: 'throw', onReport: (report) => reports.push(report) })
const sql = guard.postgres(postgres(url, { max: 5 }))
const pool = guard.pg(new pg.Pool({ connectionString: url, max: 5 }))
const model = await startModel()
const call = async () => (await fetch(model.url)).status
const callError = { cause: { code: 'connection_held' } }

beforeEach(() => {
  reports.length = 0
})
afterAll(async () => {
  guard.stop()
  model.close()
  await Promise.all([sql.end(), pool.end()])
})

async function loadWithPg() {
  const client = await pool.connect()
  await client.query('select 1')
  client.release()
}
async function loadWithReserved() {
  const reserved = await sql.reserve()
  await reserved`select 1`
  reserved.release()
}

describe('a request in a transaction fails before it is sent', () => {
  const requests: Record<string, () => Promise<unknown>> = {
    fetch: () => fetch(model.url).catch(({ cause }) => Promise.reject(cause)),
    'undici of npm': () => request(model.url),
    'node:http': () => once(get(model.url), 'response'),
    'node:https': () => once(getSecure('https://127.0.0.1:9/'), 'response'),
    'check()': async () => guard.check('a local model'),
  }

  it.each(Object.entries(requests))('%s', async (_, work) => {
    const before = model.count()
    await expect(sql.begin(work)).rejects.toThrow(ConnectionHeldError)
    expect(model.count()).toBe(before)
  })
})

describe('a call is reported', () => {
  const held: Record<string, () => Promise<unknown>> = {
    'with a reserved connection': async () => {
      const reserved = await sql.reserve()
      await call().finally(reserved.release)
    },
    'with a checked-out client': async () => {
      const client = await pool.connect()
      await call().finally(() => client.release())
    },
    'in the callback of connect': () =>
      new Promise((resolve, reject) =>
        pool.connect((_error, client, release) => {
          call()
            .then(resolve, reject)
            .finally(() => release(client === undefined))
        }),
      ),
    'with a client that a helper took and the caller used': async () => {
      const client = await (async () => pool.connect())()
      await client.query('select 1')
      await call().finally(() => client.release())
    },
    'with the outer of two connections': async () => {
      const client = await pool.connect()
      await client.query('select 1')
      await loadWithPg()
      await call().finally(() => client.release())
    },
    'in a savepoint': () => sql.begin((tx) => tx.savepoint(() => call())),
    'in the callback of any other library': () => guard.hold(call)(),
    'in a timer': () =>
      sql.begin(() => new Promise((resolve, reject) => setTimeout(() => call().then(resolve, reject)))),
    'in a listener, by who emits': () => {
      const emitter = new EventEmitter()
      const { promise, resolve, reject } = Promise.withResolvers<number>()
      emitter.on('saved', () => call().then(resolve, reject))
      return sql.begin(async () => {
        emitter.emit('saved')
        await promise
      })
    },
    'in a stream, by who reads': () => {
      const answers = Readable.from(
        (async function* () {
          yield await call()
        })(),
      )
      return sql.begin(() => answers.toArray())
    },
    'with a transaction of Kysely': () => {
      const db = new Kysely<object>({ dialect: new PostgresDialect({ pool }) })
      return db.transaction().execute(guard.hold(async (tx) => [await kyselySql`select 1`.execute(tx), await call()]))
    },
  }

  it.each(Object.entries(held))('%s', async (_, work) => {
    await expect(work()).rejects.toMatchObject(callError)
    expect(reports.length).toBeGreaterThan(0)
  })
})

describe('a call is not reported', () => {
  const free: Record<string, () => Promise<unknown>> = {
    'without a connection': call,
    'after a query': async () => [await sql`select 1`, await pool.query('select 1'), await call()],
    'after a transaction': async () => [await sql.begin((tx) => tx`select 1`), await call()],
    'after a failed transaction': async () => [await sql.begin(() => Promise.reject()).catch(() => {}), await call()],
    'after a connection was released': async () => [await loadWithPg(), await loadWithReserved(), await call()],
    'after a connection could not be taken': async () => {
      const broken = guard.pg(new pg.Pool({ connectionString: 'postgres://127.0.0.1:9/a' }))
      await broken.connect().catch(() => {})
      await call()
    },
    'beside functions that take connections': () =>
      Promise.all([loadWithPg(), loadWithReserved(), (async () => [await null, await call()])()]),
    'after the release, beside others that still hold theirs': async () => {
      const released = Promise.withResolvers<void>()
      const takeAndCall = async (isFirst: boolean) => {
        const client = await pool.connect()
        await client.query('select 1')
        if (isFirst) await released.promise
        client.release()
        if (!isFirst) await call().finally(released.resolve)
      }
      await Promise.all([takeAndCall(true), takeAndCall(false)])
    },
    'in work that began before the transaction': async () => {
      const began = Promise.withResolvers<void>()
      const parallel = began.promise.then(call)
      await sql.begin(async () => {
        began.resolve()
        await parallel
      })
    },
    'in detached work that outlives the transaction': async () => {
      const ended = Promise.withResolvers<void>()
      const { later } = await sql.begin(async () => ({ later: ended.promise.then(call) }))
      ended.resolve()
      await later
    },
    'whose response is read in a transaction': async () => {
      const response = await fetch(model.url)
      await sql.begin(() => response.text())
    },
  }

  it.each(Object.entries(free))('%s', async (_, work) => {
    await work()
    expect(reports).toEqual([])
  })
})

it('one hundred parallel requests do not affect each other', async () => {
  const answer = async (_: unknown, index: number) => {
    if (index % 2) return sql.begin(async (tx) => [await tx`select 1`, await call()]).catch(() => 'reported')
    await sql.begin((tx) => tx`select 1`)
    return call()
  }
  const outcomes = await Promise.all(Array.from({ length: 100 }, answer))
  expect(outcomes).toEqual(outcomes.map((_, index) => (index % 2 ? 'reported' : 200)))
  expect(reports).toHaveLength(50)
})

it('runs an array of queries like postgres.js does', async () => {
  expect(await sql.begin((tx) => [tx`select 1 as a`, tx`select 2 as a`])).toEqual([[{ a: 1 }], [{ a: 2 }]])
})

it('a report names both places in the code of the application, and no query of the URL', async () => {
  const ask = async () => fetch(`${model.url}/v1/chat?key=secret`)
  await sql.begin(ask).catch(() => {})
  const [report] = reports
  expect(report).toEqual({
    call: `GET ${model.url}/v1/chat`,
    takenAt: expect.stringMatching(/connection-guard\/src\/index\.test\.ts:\d+:\d+$/),
    calledAt: expect.stringMatching(/^ask \(.*connection-guard\/src\/index\.test\.ts:\d+:\d+\)$/),
  })
  expect(new ConnectionHeldError(report ?? expect.unreachable()).message).toContain(report?.takenAt)
})

describe('a guard', () => {
  const use = async (options: GuardOptions) => {
    const own = createGuard(options)
    onTestFinished(own.stop)
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
    const ask = own.hold(call)
    const outcomes = await Promise.allSettled([ask(), ask()])
    return {
      statuses: outcomes.map(({ status }) => String(status)),
      count: own.count(),
      warnings: warn.mock.calls.length,
    }
  }
  const sent = ['fulfilled', 'fulfilled']

  it.each<{ options: GuardOptions; outcome: Awaited<ReturnType<typeof use>> }>([
    { options: {}, outcome: { statuses: sent, count: 2, warnings: 1 } },
    { options: { mode: 'count' }, outcome: { statuses: sent, count: 2, warnings: 0 } },
    { options: { mode: 'throw' }, outcome: { statuses: ['rejected', 'rejected'], count: 2, warnings: 0 } },
    { options: { mode: 'off' }, outcome: { statuses: sent, count: 0, warnings: 0 } },
    { options: { mode: 'throw', allow: ['127.0.0.1'] }, outcome: { statuses: sent, count: 0, warnings: 0 } },
    {
      options: { mode: 'throw', allow: [new URL(model.url).host] },
      outcome: { statuses: sent, count: 0, warnings: 0 },
    },
    { options: { mode: 'count', allow: ['127.0.0.1:9'] }, outcome: { statuses: sent, count: 2, warnings: 0 } },
  ])('with $options', async ({ options, outcome }) => {
    expect(await use(options)).toEqual(outcome)
  })

  it('that is off changes nothing', () => {
    const off = createGuard({ mode: 'off' })
    const plain = { transaction: () => {} }
    expect(off.hold(call)).toBe(call)
    expect(off.drizzle(plain).transaction).toBe(plain.transaction)
  })
})
