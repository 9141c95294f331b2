import { createServer } from 'node:net'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { connect } from './client.ts'
import { isPooled, isSameDatabase, probePooling, readPools, readServer } from './inspect.ts'
import { createTestDatabase } from './testing.ts'

// More of it, on setups that are wrong: infra/doctor.test.ts and apps/cli/src/doctor.

const [database, other] = [await createTestDatabase(), await createTestDatabase()]
const { signal } = new AbortController()
const pooled = { url: database.databaseUrl, signal }
const direct = { url: database.directDatabaseUrl, signal }

afterAll(() => Promise.all([database.drop(), other.drop()]))

it('tells a pooler from Postgres', async () => {
  expect(await Promise.all([isPooled(pooled), isPooled(direct)])).toEqual([true, false])
})

it('tells a database from another one of the same server, also when ten ask at once', async () => {
  const ask = (url: string) => isSameDatabase(direct, { url, signal })
  const urls = Array.from({ length: 5 }, () => [database.databaseUrl, other.databaseUrl]).flat()
  expect(await Promise.all(urls.map(ask))).toEqual(urls.map((url) => url === database.databaseUrl))
})

it('sees transaction mode while others work, and that Postgres itself has no such thing', async () => {
  const work = Array.from({ length: 5 }, () => readServer(pooled))
  expect(await Promise.all([probePooling(pooled), probePooling(direct)])).toEqual(['transaction', 'session'])
  await Promise.all(work)
})

it('counts the clients and connections of one database alone', async () => {
  const console = { url: process.env.PGBOUNCER_ADMIN_URL ?? '', signal }
  const holder = connect({ url: database.databaseUrl, poolSize: 1 })
  onTestFinished(holder.close)
  await holder.db.transaction(async (tx) => {
    await tx.execute(sql`select 1`)
    const held = () => readPools(console, new URL(database.databaseUrl).pathname.slice(1))
    const expected = { activeClients: 1, waitingClients: 0, activeServers: 1, poolSize: 20, longestWaitSeconds: 0 }
    await expect.poll(held).toMatchObject(expected) // who was there before may not be gone yet
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
  it('ends a question that a server leaves unanswered', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const target = { url: `postgres://ada@127.0.0.1:${port}/ada`, signal: AbortSignal.timeout(50) }
    await expect(readServer(target)).rejects.toThrow()
  })

  it('beforehand asks nothing', async () => {
    await expect(readServer({ ...pooled, signal: AbortSignal.abort() })).rejects.toThrow('aborted')
  })
})
