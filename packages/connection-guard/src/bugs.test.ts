import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres'
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { createGuard, type Report } from './index.ts'
import { bugs, type Driver } from './testing-bugs.ts'
import { createCallers, startModel } from './testing-model.ts'

const url = process.env.DATABASE_URL ?? ''
const reports: Report[] = []
const guard = createGuard({ mode: 'throw', onReport: (report) => reports.push(report) })
const sql = guard.postgres(postgres(url, { max: 2 }))
const pool = guard.pg(new pg.Pool({ connectionString: url, max: 2 }))
const model = await startModel()

beforeEach(() => {
  reports.length = 0
})
afterAll(async () => {
  guard.stop()
  model.close()
  await Promise.all([sql.end(), pool.end()])
})

type Drizzle = {
  transaction: (work: (tx: { execute: (text: string) => Promise<unknown> }) => Promise<unknown>) => Promise<unknown>
}

/** Drizzle has no sessions but transactions. */
function useDrizzle(db: Drizzle): Driver {
  const transaction: Driver['transaction'] = (work) => db.transaction((tx) => work((text) => tx.execute(text)))
  return { transaction, session: transaction }
}

const drivers: Record<string, Driver> = {
  'postgres.js': {
    transaction: (work) => sql.begin((tx) => work((text) => tx.unsafe(text))),
    session: async (work) => {
      const reserved = await sql.reserve()
      try {
        return await work((text) => reserved.unsafe(text))
      } finally {
        reserved.release()
      }
    },
  },
  pg: {
    transaction: async (work) => {
      const client = await pool.connect()
      try {
        await client.query('begin')
        const result = await work((text) => client.query(text))
        await client.query('commit')
        return result
      } catch (error) {
        await client.query('rollback')
        throw error
      } finally {
        client.release()
      }
    },
    session: async (work) => {
      const client = await pool.connect()
      try {
        return await work((text) => client.query(text))
      } finally {
        client.release()
      }
    },
  },
  'Drizzle on postgres.js': useDrizzle(guard.drizzle(drizzlePostgres(postgres(url, { max: 2 })))),
  'Drizzle on pg': useDrizzle(guard.drizzle(drizzlePg(pool))),
}

describe.each(Object.entries(bugs))('%s', (_, { bug, fixed }) => {
  const cases = Object.keys(drivers).flatMap((driver) =>
    Object.entries(createCallers(model.url)).map(([caller, ask]) => ({ driver, caller, ask })),
  )

  it.each(cases)('is reported with $driver and $caller, and its fix is not', async ({ driver, ask }) => {
    const use = drivers[driver] ?? expect.unreachable()
    const before = model.count()
    await bug(use, ask).catch(() => {})
    expect(reports.length).toBeGreaterThan(0)
    expect(model.count()).toBe(before)

    reports.length = 0
    await fixed(use, ask)
    expect(reports).toEqual([])
    expect(model.count()).toBeGreaterThan(before)
  })
})
