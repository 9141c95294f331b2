import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { connect, type DatabaseOptions, type Db } from '../client.ts'
import { describeDatabaseError } from '../errors.ts'
import { createTestDatabase } from '../testing.ts'
import { forward, openDoor } from './testing-door.ts'

const database = await createTestDatabase()
const direct = connect({ url: database.directDatabaseUrl, poolSize: 2, applicationName: 'gate test' })
await direct.db.execute(sql`create table ledger (id int)`)

beforeEach(async () => {
  await direct.db.execute(sql`truncate ledger`)
})
afterAll(async () => {
  await direct.close()
  await database.drop()
})

/** Opens a pool with one connection and closes it after the test. */
function open(options: Partial<DatabaseOptions> = {}) {
  const client = connect({ url: database.databaseUrl, poolSize: 1, ...options })
  onTestFinished(client.close)
  return client.db
}

/** Starts a TCP server in front of PgBouncer whose connections tests can control, and closes it after the test. */
async function startProxy(serve: Parameters<typeof openDoor>[0], onPort = 0) {
  const proxy = await openDoor(serve, onPort)
  onTestFinished(() => proxy.close().catch(() => {}))
  return { ...proxy, url: urlAt(proxy.port) }
}

function urlAt(port: number): string {
  const url = new URL(database.databaseUrl)
  url.host = `127.0.0.1:${port}`
  return url.href
}

const insert = async (db: Pick<Db, 'execute'>, id: number) => {
  await db.execute(sql`insert into ledger (id) values (${id})`)
}
const listIds = async () =>
  (await direct.db.execute<{ id: number }>(sql`select id from ledger order by id`)).map(({ id }) => id)

/** Resolves with the description of its error. */
const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => describeDatabaseError(error),
  )
const unavailable = (code: string) => ({ code, constraint: undefined, unavailable: true })

describe('a query that finds all connections in use', () => {
  it('gets one in order of arrival', async () => {
    const db = open()
    const order: number[] = []
    await Promise.all(
      [1, 2, 3, 4].map(async (n) => {
        await insert(db, n)
        order.push(n)
      }),
    )
    expect(order).toEqual([1, 2, 3, 4])
  })

  it('fails after the deadline, and does not run later', async () => {
    const db = open({ waitTimeoutMs: 100 })
    const end = Promise.withResolvers<void>()
    const transaction = db.transaction(() => end.promise)
    const waiting = [insert(db, 1), db.transaction((tx) => insert(tx, 2))]
    expect(await Promise.all(waiting.map(failureOf))).toEqual(Array(2).fill(unavailable('CONNECTION_WAIT_TIMEOUT')))
    end.resolve()
    await transaction
    await insert(db, 3)
    expect(await listIds()).toEqual([3])
  })

  it('is counted while it waits, and its waiting time is reported even if it fails', async () => {
    const { db, pool, close } = connect({ url: database.databaseUrl, poolSize: 1, waitTimeoutMs: 1000 })
    onTestFinished(close)
    const waits: number[] = []
    pool.onWait((waitedMs) => waits.push(waitedMs))
    await insert(db, 1)
    expect([pool.size, pool.countUsed(), pool.countWaiting(), waits.length]).toEqual([1, 0, 0, 0])
    const transaction = db.transaction(() => expect.poll(() => waits.length).toBe(1)) // until the other query has timed out
    const waiting = failureOf(insert(db, 2))
    await expect.poll(() => [pool.countUsed(), pool.countWaiting()]).toEqual([1, 1])
    await Promise.all([transaction, waiting])
    expect([pool.countUsed(), pool.countWaiting()]).toEqual([0, 0])
    expect(waits[0]).toBeGreaterThan(995)
  })

  it('fails instead of waiting forever when its own transaction holds the last one', async () => {
    const db = open({ waitTimeoutMs: 100 })
    const transaction = db.transaction(async (tx) => {
      await insert(tx, 1)
      await insert(db, 2)
    })
    expect(await failureOf(transaction)).toEqual(unavailable('CONNECTION_WAIT_TIMEOUT'))
    await insert(db, 3)
    expect(await listIds()).toEqual([3])
  })
})

describe('while the database is unavailable', () => {
  it('queries and transactions wait for it, and run once', async () => {
    const serve = (socket: Parameters<typeof forward>[0]) => void forward(socket, database.databaseUrl)
    const before = await startProxy(serve)
    const db = open({ url: before.url, poolSize: 4, waitTimeoutMs: 60_000 })
    await before.close()
    const work = [1, 2, 3].map((id) => insert(db, id))
    work.push(db.transaction((tx) => insert(tx, 4)))
    await sleep(300)
    await startProxy(serve, before.port)
    await Promise.all(work)
    expect(await listIds()).toEqual([1, 2, 3, 4])
  })

  it.each<[string, string, Parameters<typeof openDoor>[0]]>([
    ['accepts and closes', 'CONNECTION_CLOSED', (socket) => socket.end()],
    ['resets', 'ECONNRESET', (socket) => socket.once('data', () => socket.resetAndDestroy())],
    ['starts up', '57P03', (socket) => socket.end(errorMessage('57P03', 'the database system is starting up'))],
    ['has no server', '08P01', (socket) => socket.end(errorMessage('08P01', 'server login has been failing'))],
  ])('and %s, work is retried a few times before the deadline', async (_, code, serve) => {
    let attempts = 0
    const { url } = await startProxy((socket) => {
      attempts += 1
      serve(socket)
    })
    const db = open({ url, waitTimeoutMs: 3000 })
    expect(await failureOf(insert(db, 1))).toEqual(unavailable(code))
    expect(await failureOf(db.transaction((tx) => insert(tx, 1)))).toEqual(unavailable(code))
    expect(attempts).toBeGreaterThan(2)
    expect(attempts).toBeLessThan(60)
  })

  it('a statement that may have run is not retried', async () => {
    const { url } = await startProxy((socket) => {
      // The server inserted the row, but its response never reaches the client.
      const { onward } = forward(socket, database.databaseUrl)
      onward.prependListener('data', (data: Buffer) => data.includes('INSERT 0 1') && socket.destroy())
    })
    const db = open({ url })
    expect(await failureOf(insert(db, 1))).toEqual(unavailable('CONNECTION_CLOSED'))
    expect(await failureOf(db.transaction((tx) => insert(tx, 2)))).toEqual(unavailable('CONNECTION_CLOSED'))
    expect(await listIds()).toEqual([1])
  })

  it.each([
    ['had no server for is retried', 'server login has been failing, cached error: connect failed', [1]],
    ['lost together with its server is not retried', 'server conn crashed?', []],
  ])('a statement that PgBouncer %s', async (_, message, stored) => {
    let connections = 0
    const { url } = await startProxy((socket) => {
      connections += 1
      const { onward } = forward(socket, database.databaseUrl)
      if (connections > 1) return
      socket.prependListener('data', (data: Buffer) => {
        if (!data.includes('insert into ledger')) return
        onward.destroy()
        socket.write(errorMessage('08P01', message))
      })
    })
    const outcome = insert(open({ url }), 1)
    await (stored.length > 0 ? outcome : expect(failureOf(outcome)).resolves.toEqual(unavailable('08P01')))
    expect(await listIds()).toEqual(stored)
  })

  it('a transaction whose own work fails with such an error is not retried', async () => {
    const db = open()
    let runs = 0
    const refused = Object.assign(new Error('starting up'), { name: 'PostgresError', code: '57P03' })
    const transaction = db.transaction(() => {
      runs += 1
      return Promise.reject(refused)
    })
    expect(await failureOf(transaction)).toEqual(unavailable('57P03'))
    expect(runs).toBe(1)
  })
})

describe('when a connection stops responding', () => {
  async function openStalling() {
    const connections: ReturnType<typeof forward>[] = []
    const { url } = await startProxy((socket) => connections.push(forward(socket, database.databaseUrl)))
    return { db: open({ url, silenceTimeoutMs: 2000 }), connections }
  }

  it('its query fails, and the next one uses a new connection', async () => {
    const { db, connections } = await openStalling()
    await insert(db, 1)
    connections[0]?.stall()
    expect(await failureOf(insert(db, 2))).toEqual(unavailable('CONNECTION_CLOSED'))
    await insert(db, 3)
    expect(await listIds()).toEqual([1, 3])
    expect(connections).toHaveLength(2)
  })

  it('its transaction fails and is not retried', async () => {
    const { db, connections } = await openStalling()
    let runs = 0
    const transaction = db.transaction(async (tx) => {
      runs += 1
      await insert(tx, 1)
      connections[0]?.stall()
      await insert(tx, 2)
    })
    expect(await failureOf(transaction)).toEqual(unavailable('CONNECTION_CLOSED'))
    await insert(db, 3)
    expect(await listIds()).toEqual([3])
    expect(runs).toBe(1)
  })

  it('nothing happens while no response is pending', async () => {
    const { db, connections } = await openStalling()
    await insert(db, 1)
    await sleep(3000)
    await insert(db, 2)
    await db.transaction(async (tx) => {
      await insert(tx, 3)
      await sleep(3000)
      await insert(tx, 4)
    })
    expect(await listIds()).toEqual([1, 2, 3, 4])
    expect(connections).toHaveLength(1)
  })
})

it('a query fails after 10 s without a free server connection, and later queries succeed', async (context) => {
  if (!process.env.SLUICE_FULL) context.skip('needs npm test -- --full')
  const db = open({ poolSize: 21 })
  let isOver = false
  const hold = () =>
    db.transaction(async (tx) => {
      while (!isOver) await tx.execute(sql`select pg_sleep(0.5)`)
    })
  const transactions = Array.from({ length: 20 }, hold) // PgBouncer's default_pool_size
  await expect.poll(countSleepers).toBe(20)
  const failure = await failureOf(insert(db, 1))
  isOver = true
  await Promise.all(transactions)
  expect(failure).toMatchObject({ unavailable: true }) // 08P01, or a reset that arrived first
  await insert(db, 2)
  expect(await listIds()).toEqual([2])
})

async function countSleepers() {
  const rows = await direct.db.execute(sql`
    select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`)
  return rows.length
}

/** Returns an error message as a server sends it instead of the handshake. */
function errorMessage(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`)
  const head = Buffer.from('E\0\0\0\0')
  head.writeUInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}
