import postgres, { type Sql } from 'postgres'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { createTestDatabase, type TestDatabase } from './testing.ts'

// Documents how the shipped PgBouncer behaves in transaction mode, so that an upgrade cannot change it unnoticed. Each
// database is new, so all clients share one connection to Postgres until a client keeps it busy.

let database: TestDatabase
let clients: Sql[]

beforeEach(async () => {
  database = await createTestDatabase()
  clients = []
  onTestFinished(async () => {
    await Promise.all(clients.map((client) => client.end()))
    await database.drop()
  })
})

/** Opens one connection to PgBouncer. */
function open(url = database.databaseUrl): Sql {
  const client = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} })
  clients.push(client)
  return client
}

async function readPid(client: Pick<Sql, 'unsafe'>): Promise<number> {
  const [row] = await client.unsafe('select pg_backend_pid() as pid').simple()
  return row?.pid
}

async function readSetting(client: Pick<Sql, 'unsafe'>): Promise<string> {
  const [row] = await client.unsafe('show search_path').simple()
  return row?.search_path
}

/** Runs the work while another client holds the existing connection to Postgres, so PgBouncer opens a second one. */
async function onAnother<T>(work: () => Promise<T>): Promise<T> {
  const result = await open().begin(async (holder) => {
    await readPid(holder)
    return { value: await work() }
  })
  return result.value
}

describe('behaviour that the template depends on', () => {
  it('a transaction keeps one connection to Postgres; the next one may use another', async () => {
    const client = open()
    const first = await readPid(client)
    const [begun, ended] = await client.begin(async (tx) => [await readPid(tx), await onAnother(() => readPid(tx))])
    expect([begun, ended]).toEqual([first, first])
    expect(await onAnother(() => readPid(client))).not.toBe(first)
  })

  it('a named statement follows its client to another connection', async () => {
    const client = open()
    const ask = async (on: Pick<Sql, 'unsafe'>) => {
      const [row] = await on.unsafe('select pg_backend_pid() as pid, $1::int as number', [7], { prepare: true })
      return row
    }
    const first = await ask(client)
    // In a transaction, because outside of one the driver would silently prepare it again.
    const second = await onAnother(() => client.begin(ask))
    expect([first?.number, second?.number]).toEqual([7, 7])
    expect(second?.pid).not.toBe(first?.pid)
  })

  it('SET LOCAL lasts until the end of its transaction and is invisible to others', async () => {
    const [client, other] = [open(), open()]
    const before = await readSetting(client)
    const inside = await client.begin(async (tx) => {
      await tx`set local search_path = 'hidden'`
      return [await readSetting(tx), await readSetting(other)]
    })
    expect(inside).toEqual(['hidden', before])
    expect([await readSetting(client), await readSetting(other)]).toEqual([before, before])
  })

  it('a transaction-level advisory lock excludes others and is released with the transaction', async () => {
    const [client, other] = [open(), open()]
    const tryLock = async (on: Pick<Sql, 'unsafe'>) =>
      (await on.unsafe('select pg_try_advisory_xact_lock(7) as got'))[0]?.got
    expect(await client.begin(async (tx) => [await tryLock(tx), await tryLock(other)])).toEqual([true, false])
    expect(await tryLock(other)).toBe(true)
  })
})

describe('features to avoid, because they belong to the Postgres connection and not to its client', () => {
  it('SET changes the setting for others, and its own client may lose it', async () => {
    const [client, other] = [open(), open()]
    const before = await readSetting(client)
    await client`set search_path = 'hidden'`
    expect(await readSetting(other)).toBe('hidden')
    expect(await onAnother(() => readSetting(client))).toBe(before)
  })

  it('LISTEN receives nothing', async () => {
    const [client, other] = [open(), open()]
    const direct = open(database.directDatabaseUrl)
    const heard: string[] = []
    await client.listen('news', (text) => void heard.push(text))
    const listening = await other`select pg_listening_channels() as channel`
    expect(listening).toEqual([{ channel: 'news' }]) // the connection listens, whichever client uses it
    await direct.notify('news', 'from afar')
    await other.notify('news', 'from the same connection')
    await direct.listen('news', () => heard.push('control'))
    await direct.notify('news', 'again')
    await expect.poll(() => heard).toEqual(['control'])
  })

  it('a session-level lock does not exclude others and cannot be released', async () => {
    const [client, other] = [open(), open()]
    const ask = async (on: Sql, question: string) => (await on.unsafe(`select ${question} as answer`))[0]?.answer
    await ask(client, 'pg_advisory_lock(7)')
    expect(await ask(other, 'pg_try_advisory_lock(7)')).toBe(true)
    expect(await onAnother(() => ask(client, 'pg_advisory_unlock(7)'))).toBe(false)
  })

  it('PREPARE is visible to others, and may be missing for its own client', async () => {
    const [client, other] = [open(), open()]
    await client.unsafe('prepare seven as select 7 as number')
    expect(await other.unsafe('execute seven').simple()).toEqual([{ number: 7 }])
    await expect(onAnother(() => client.unsafe('execute seven').simple())).rejects.toMatchObject({ code: '26000' })
  })

  it('a temporary table is visible to others, and may be missing for its own client', async () => {
    const [client, other] = [open(), open()]
    await client`create temporary table notes as select 7 as number`
    expect(await other`select number from notes`).toEqual([{ number: 7 }])
    await expect(onAnother(() => client`select number from notes`)).rejects.toMatchObject({ code: '42P01' })
  })
})
