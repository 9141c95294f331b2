// Run by patch.test.ts: what a process does after it lost connections. It prints its observations as JSON.
// node testing-driver.ts SCENARIO DRIVER DATABASE_URL DIRECT_DATABASE_URL

import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Options, Sql, TransactionSql } from 'postgres'
import { forward, openDoor } from './testing-door.ts'

const [scenario = '', driver = '', url = '', directUrl = ''] = process.argv.slice(2)
const { default: postgres }: { default: typeof import('postgres') } = await import(driver)

const options = { fetch_types: false, connect_timeout: 60, backoff: () => 0.05, onnotice: () => {} }
const killer = postgres(directUrl, { ...options, max: 1 })
await killer`create table if not exists written (text text)`
await killer`truncate written`

const scenarios: Record<string, (sql: Sql) => Promise<unknown>> = {
  /** A transaction continues after its connection is lost. */
  'late statement': async (sql) => {
    const late = Promise.withResolvers<unknown>()
    const lost: Promise<unknown> = sql.begin(async (tx) => {
      await terminate(await readBackend(tx))
      await settle(lost)
      late.resolve(await settle(tx`select 1 as one`))
    })
    return [await settle(lost), await late.promise, await settle(sql`select 1 as one`)]
  },

  /** The same while another query waits for a connection: it gets the transaction's connection. */
  'late statement, new connection': async (sql) => {
    const [waiting, late] = [Promise.withResolvers<unknown>(), Promise.withResolvers<unknown>()]
    const lost: Promise<unknown> = sql.begin(async (tx) => {
      const backend = await readBackend(tx)
      waiting.resolve(settle(sql`select 1 as one`))
      await terminate(backend)
      await waiting.promise
      late.resolve(await settle(tx`insert into written values ('late')`))
    })
    const outcomes = [await settle(lost), await waiting.promise, await late.promise]
    return [...outcomes, await readWritten()]
  },

  /** Two connections are lost at the same time, and the code that sees the first loss uses the second connection. */
  'unsent statement': async (sql) => {
    const backends = [Promise.withResolvers<number>(), Promise.withResolvers<number>()]
    const begin = (n: number, wait: () => Promise<unknown>) =>
      sql.begin(async (tx) => {
        backends[n]?.resolve(await readBackend(tx))
        await wait()
        await tx`select 1`
      })
    const first: Promise<unknown> = begin(0, () => settle(first))
    const second = begin(1, () => settle(first))
    const outcomes = Promise.all([settle(first), settle(second)])
    await terminate(...(await Promise.all(backends.map(({ promise }) => promise))))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100) // both losses reach this process while it is busy
    return [await outcomes, await Promise.all([settle(sql`select 1 as one`), settle(sql`select 2 as two`)])]
  },

  /** Statements of one transaction are not awaited together: one is sent after another's failure has ended it. */
  'statement after the end': async (sql) => {
    const late = Promise.withResolvers<unknown>()
    const failed: Promise<unknown> = sql.begin(async (tx) => {
      void settle(failed).then(() => late.resolve(settle(tx`insert into written values ('late')`)))
      await tx`select 1 / 0`
    })
    return [await settle(failed), await late.promise, await readWritten()]
  },

  /** The socket emits `drain` in the middle of a transaction. */
  'drained socket': async () => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    const given = { max: 1, socket: () => socket } // the driver's types lack `socket`
    const sql = open(given)
    const outside = Promise.withResolvers<unknown>()
    const failed = sql.begin(async (tx) => {
      await tx`select 1`
      socket.emit('drain')
      outside.resolve(settle(sql`insert into written values ('outside') returning 1 as one`))
      await sleep(0) // it would be sent now
      await tx`select 1 / 0`
    })
    return [await settle(failed), await outside.promise, await readWritten()]
  },

  /** All connections are busy, one of them for a long time. */
  'slow stranger': async () => {
    const sql = open({ max: 2 })
    const finished: string[] = []
    const run = async (name: string, seconds: number) => {
      await sql`select pg_sleep(${seconds})`
      finished.push(name)
    }
    await Promise.all([run('first', 0), run('first', 0)])
    await Promise.all([run('slow', 5), run('fast', 0), run('fast', 0), run('fast', 0)])
    return finished
  },

  /** A server that accepts and closes connections, and recovers later. */
  'closed during startup': async () => {
    let attempts = 0
    const { host, port } = await openDoor((socket) => (++attempts > 3 ? forward(socket, url) : socket.end()))
    const sql = open({ host, port, backoff: () => 0 })
    const outcomes = []
    for (let n = 0; n < 4; n++) outcomes.push(await settle(sql`select 1 as one`))
    return outcomes
  },

  /** A connection that stays open without any traffic. */
  'silent server': async () => {
    const stalls: (() => void)[] = []
    const { host, port } = await openDoor((socket) => stalls.push(forward(socket, url).stall))
    const sql = open({ host, port, silence_timeout: 1 })
    const before = await settle(sql`select 1 as one`)
    for (const stall of stalls) stall()
    const lost = await Promise.race([settle(sql`select 1 as one`), sleep(15_000, 'waits for ever')])
    return [before, lost, lost === 'waits for ever' ? lost : await settle(sql`select 1 as one`)]
  },

  /** TLS is required of a server without TLS. Nothing may be sent unencrypted, and the reason must be reported. */
  'no TLS': async () => {
    const received: Buffer[] = []
    const { host, port } = await openDoor((socket) =>
      socket.on('data', (data) => received.push(data) === 1 && socket.write('N')),
    )
    // Without the patch, the driver waits until the connection times out.
    const outcome = await settle(open({ host, port, ssl: 'require', connect_timeout: 5 })`select 1`)
    return [outcome, received.map((data) => data.toString('hex'))]
  },

  /** A connection is lost in the middle of a result. */
  'half a result': async (sql) => {
    const backend = await readBackend(sql)
    const half = settle(sql`select n, case n when 20000 then pg_sleep(60) end from generate_series(1, 20000) n`)
    while (
      (await killer`select from pg_stat_activity where pid = ${backend} and wait_event = 'PgSleep'`).length === 0
    ) {
      await sleep(10)
    }
    await terminate(backend)
    return [await half, await settle(sql`select 1 as one`)]
  },
}

function open(given: Options<Record<string, never>> = {}): Sql {
  return postgres(url, { ...options, max: 1, ...given })
}

async function readWritten(): Promise<string[]> {
  return (await killer<{ text: string }[]>`select text from written`).map(({ text }) => text)
}

async function readBackend(sql: Sql | TransactionSql): Promise<number> {
  const [row] = await sql`select pg_backend_pid() as pid`
  return row?.pid
}

/** Resolves when the backends are gone. */
async function terminate(...pids: number[]) {
  for (const pid of pids) await killer`select pg_terminate_backend(${pid})`
  for (const pid of pids) await killer`select pg_terminate_backend(${pid}, 5000)`
}

function settle(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    (value) => value,
    (error) => error.code,
  )
}

const outcome = await scenarios[scenario]?.(open({ max: scenario === 'unsent statement' ? 2 : 1 }))
process.stdout.write(JSON.stringify(outcome))
process.exit()
