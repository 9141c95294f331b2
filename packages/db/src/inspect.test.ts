import { createServer } from 'node:net'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { connect } from './client.ts'
import { isPooled, isSameDatabase, probePooling, readPools, readServer } from './inspect.ts'
import { createTestDatabase } from './testing.ts'

// Tests on faulty setups: infra/doctor.test.ts and apps/cli/src/doctor.

const [database, other] = [await createTestDatabase(), await createTestDatabase()]
const { signal } = new AbortController()
const pooled = { url: database.databaseUrl, signal }
const direct = { url: database.directDatabaseUrl, signal }

afterAll(() => Promise.all([database.drop(), other.drop()]))

it('distinguishes a pooler from Postgres', async () => {
  expect(await Promise.all([isPooled(pooled), isPooled(direct)])).toEqual([true, false])
})

it('distinguishes databases of the same server, even with ten concurrent checks', async () => {
  const ask = (url: string) => isSameDatabase(direct, { url, signal })
  const urls = Array.from({ length: 5 }, () => [database.databaseUrl, other.databaseUrl]).flat()
  expect(await Promise.all(urls.map(ask))).toEqual(urls.map((url) => url === database.databaseUrl))
})

it('detects transaction mode under load, and session mode without a pooler', async () => {
  const work = Array.from({ length: 5 }, () => readServer(pooled))
  expect(await Promise.all([probePooling(pooled), probePooling(direct)])).toEqual(['transaction', 'session'])
  await Promise.all(work)
})

it('counts the clients and connections of one database only', async () => {
  const console = { url: process.env.PGBOUNCER_ADMIN_URL ?? '', signal }
  const holder = connect({ url: database.databaseUrl, poolSize: 1 })
  onTestFinished(holder.close)
  await holder.db.transaction(async (tx) => {
    await tx.execute(sql`select 1`)
    const held = () => readPools(console, new URL(database.databaseUrl).pathname.slice(1))
    const expected = { activeClients: 1, waitingClients: 0, activeServers: 1, poolSize: 20, longestWaitSeconds: 0 }
    await expect.poll(held).toMatchObject(expected) // earlier clients may still be disconnecting
  })
  const none = {
    activeClients: 0,
    waitingClients: 0,
    activeServers: 0,
    idleServers: 0,
    poolSize: 0,
    longestWaitSeconds: 0,
  }
  expect(await readPools(console, 'no such database')).toEqual(none)
})

describe('aborting', () => {
  it('rejects a query that the server does not answer', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const target = { url: `postgres://ada@127.0.0.1:${port}/ada`, signal: AbortSignal.timeout(50) }
    await expect(readServer(target)).rejects.toThrow()
  })

  it('before the start sends no query', async () => {
    await expect(readServer({ ...pooled, signal: AbortSignal.abort() })).rejects.toThrow('aborted')
  })
})
