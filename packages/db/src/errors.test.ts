import { eq, sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from './client.ts'
import { describeDatabaseError } from './errors.ts'
import { owners } from './schema.ts'
import { createTestDatabase } from './testing.ts'

const database = await createTestDatabase()
const { db, close } = connect({ url: database.databaseUrl, poolSize: 2 })
const direct = connect({ url: database.directDatabaseUrl, poolSize: 2 })
const secret = 'swordfish'

afterAll(async () => {
  await Promise.all([close(), direct.close()])
  await database.drop()
})

const errorOf = (work: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(work).then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error,
  )

describe('a database error is described', () => {
  it('by the constraint that it violates', async () => {
    await db.insert(owners).values({ name: secret })
    const error = await errorOf(db.insert(owners).values({ name: secret }))
    expect(describeDatabaseError(error)).toEqual({
      code: '23505',
      constraint: 'owners_name_unique',
      unavailable: false,
    })
  })

  it('without the SQL and parameters in its message', async () => {
    const error = await errorOf(
      db
        .select()
        .from(owners)
        .where(eq(sql`${owners.id}::int`, secret)),
    )
    expect(String(error)).toContain(secret)
    expect(describeDatabaseError(error)).toEqual({ code: '42846', constraint: undefined, unavailable: false })
  })

  it('also inside a transaction', async () => {
    const error = await errorOf(db.transaction((tx) => tx.execute(sql`select ${secret}::int`)))
    expect(describeDatabaseError(error)).toEqual({ code: '22P02', constraint: undefined, unavailable: false })
  })
})

describe('the database is unavailable', () => {
  it('when nothing listens', async () => {
    const gone = connect({ url: `postgres://ada:${secret}@127.0.0.1:9/ada`, poolSize: 1, waitTimeoutMs: 100 })
    const expected = { code: 'ECONNREFUSED', constraint: undefined, unavailable: true }
    expect(describeDatabaseError(await errorOf(gone.db.execute(sql`select ${secret}`)))).toEqual(expected)
    expect(describeDatabaseError(await errorOf(gone.db.transaction(async () => {})))).toEqual(expected)
    await gone.close()
  })

  it('when the pool was closed', async () => {
    const closed = connect({ url: database.databaseUrl, poolSize: 1 })
    await closed.close()
    const error = await errorOf(closed.db.execute(sql`select 1`))
    expect(describeDatabaseError(error)).toMatchObject({ code: 'CONNECTION_ENDED', unavailable: true })
  })

  it.each([
    ['straight to Postgres', direct.db],
    ['through PgBouncer', db],
  ])('when the backend of a query or a transaction is terminated, %s', async (_, connection) => {
    const terminated = connection.execute(sql`select pg_terminate_backend(pg_backend_pid()), ${secret}`)
    expect(describeDatabaseError(await errorOf(terminated))).toMatchObject({ unavailable: true })

    const work = connection.transaction(async (tx) => {
      const [row] = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`)
      await direct.db.execute(sql`select pg_terminate_backend(${row?.pid}::int)`)
      await new Promise(() => {})
    })
    expect(describeDatabaseError(await errorOf(work))).toMatchObject({ unavailable: true })
  })
})

it('returns undefined for other errors', () => {
  const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
  for (const error of [new Error('other'), refused, 'text', undefined]) {
    expect(describeDatabaseError(error)).toBeUndefined()
  }
})
