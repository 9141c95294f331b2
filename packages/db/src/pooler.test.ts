import postgres, { type Sql } from 'postgres'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { createTestDatabase, type TestDatabase } from './testing.ts'

// What the shipped PgBouncer does in transaction mode, and what an upgrade of it may not change unnoticed. Each database
// is new, so that all clients share one connection to Postgres, until somebody keeps it busy.

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

/** One connection to PgBouncer. */
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

/** Does the work while another client has the connection to Postgres that is there: PgBouncer opens a second one. */
async function onAnother<T>(work: () => Promise<T>): Promise<T> {
  const result = await open().begin(async (holder) => {
    await readPid(holder)
    return { value: await work() }
  })
  return result.value
}

describe('what the template rests on', () => {
  it('a transaction has one connection to Postgres; between two it may be another', async () => {
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
    // In a transaction: outside of one the driver would prepare it anew, and nobody would know.
    const second = await onAnother(() => client.begin(ask))
    expect([first?.number, second?.number]).toEqual([7, 7])
    expect(second?.pid).not.toBe(first?.pid)
  })

  it('SET LOCAL holds until the end of its transaction, and nobody else sees it', async () => {
    const [client, other] = [open(), open()]
    const before = await readSetting(client)
    const inside = await client.begin(async (tx) => {
      await tx`set local search_path = 'hidden'`
      return [await readSetting(tx), await readSetting(other)]
    })
    expect(inside).toEqual(['hidden', before])
    expect([await readSetting(client), await readSetting(other)]).toEqual([before, before])
  })

  it('an advisory lock of a transaction keeps others out, and goes with it', async () => {
    const [client, other] = [open(), open()]
    const tryLock = async (on: Pick<Sql, 'unsafe'>) =>
      (await on.unsafe('select pg_try_advisory_xact_lock(7) as got'))[0]?.got
    expect(await client.begin(async (tx) => [await tryLock(tx), await tryLock(other)])).toEqual([true, false])
    expect(await tryLock(other)).toBe(true)
  })
})

describe('what must not be used: it stays with the connection to Postgres, not with its client', () => {
  it('SET changes the setting of others, and may be lost for who set it', async () => {
    const [client, other] = [open(), open()]
    const before = await readSetting(client)
    await client`set search_path = 'hidden'`
    expect(await readSetting(other)).toBe('hidden')
    expect(await onAnother(() => readSetting(client))).toBe(before)
  })

  it('LISTEN hears nothing', async () => {
    const [client, other] = [open(), open()]
    const direct = open(database.directDatabaseUrl)
    const heard: string[] = []
    await client.listen('news', (text) => void heard.push(text))
    const listening = await other`select pg_listening_channels() as channel`
    expect(listening).toEqual([{ channel: 'news' }]) // the connection does, whoever has it
    await direct.notify('news', 'from afar')
    await other.notify('news', 'from the same connection')
    await direct.listen('news', () => heard.push('control'))
    await direct.notify('news', 'again')
    await expect.poll(() => heard).toEqual(['control'])
  })

  it('a lock of a session does not keep others out, and cannot be given back', async () => {
    const [client, other] = [open(), open()]
    const ask = async (on: Sql, question: string) => (await on.unsafe(`select ${question} as answer`))[0]?.answer
    await ask(client, 'pg_advisory_lock(7)')
    expect(await ask(other, 'pg_try_advisory_lock(7)')).toBe(true)
    expect(await onAnother(() => ask(client, 'pg_advisory_unlock(7)'))).toBe(false)
  })

  it('PREPARE is there for others, and may be missing for who prepared', async () => {
    const [client, other] = [open(), open()]
    await client.unsafe('prepare seven as select 7 as number')
    expect(await other.unsafe('execute seven').simple()).toEqual([{ number: 7 }])
    await expect(onAnother(() => client.unsafe('execute seven').simple())).rejects.toMatchObject({ code: '26000' })
  })

  it('a temporary table is there for others, and may be missing for who made it', async () => {
    const [client, other] = [open(), open()]
    await client`create temporary table notes as select 7 as number`
    expect(await other`select number from notes`).toEqual([{ number: 7 }])
    await expect(onAnother(() => client`select number from notes`)).rejects.toMatchObject({ code: '42P01' })
  })
})
