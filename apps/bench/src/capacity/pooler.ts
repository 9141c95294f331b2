import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, connect as dial } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { withDatabase } from '@repo/db/testing'
import postgres, { type Sql } from 'postgres'
import type { Stack } from '../harness.ts'
import { findPids } from '../watch/processes.ts'
import type { PoolCheck } from './model.ts'
import { createStatements, percentile, type Statement } from './simulate.ts'

type PoolerTotals = { statements: number; heldMs: number; waitMs: number }

/** Reads what PgBouncer has counted for a database since its start. `admin` is its console. */
export async function readTotals(admin: Sql, database: string): Promise<PoolerTotals> {
  const rows = await admin.unsafe('show stats').simple()
  const row = rows.find((candidate) => candidate.database === database)
  const read = (name: string) => Number(row?.[name] ?? 0)
  const toMs = (name: string) => read(name) / 1000
  const waitMs = toMs('total_wait_time')
  // PgBouncer's time of a transaction begins when the client sends it, so it includes the wait.
  return { statements: read('total_xact_count'), heldMs: toMs('total_xact_time') - waitMs, waitMs }
}

/** Opens PgBouncer's console, which supports only the simple query protocol. */
export function openConsole({ pgbouncerAdminUrl }: Pick<Stack, 'pgbouncerAdminUrl'>): Sql {
  return postgres(pgbouncerAdminUrl, { max: 1, fetch_types: false, prepare: false, max_lifetime: null })
}

/** Adds names for a database to the running PgBouncer, such as `pool_2` with `pool_size=2`, and waits until it knows them. */
export async function addNames(
  stack: Stack,
  names: Record<string, { port?: number; poolSize?: number }>,
): Promise<void> {
  const file = join(stack.folder, 'pgbouncer.ini')
  const { hostname, port: direct, pathname } = new URL(stack.directDatabaseUrl)
  const lines = Object.entries(names).map(
    (
      [name, { port = direct, poolSize = 20 }], // 20 is the template's default
    ) => `${name} = host=${hostname} port=${port} dbname=${pathname.slice(1)} pool_size=${poolSize}`,
  )
  writeFileSync(file, readFileSync(file, 'utf8').replace('[databases]\n', `[databases]\n${lines.join('\n')}\n`))
  process.kill(findPids(stack.folder, ['pgbouncer']).pgbouncer ?? 0, 'SIGHUP')
  const admin = openConsole(stack)
  const listNames = async () => (await admin.unsafe('show databases').simple()).map(({ name }) => String(name))
  for (let known: string[] = []; Object.keys(names).some((name) => !known.includes(name)); known = await listNames())
    await sleep(20)
  await admin.end()
}

const readyForQuery = Buffer.from('5a0000000549', 'hex') // "Z", length 5, "I": outside of a transaction

/** Starts a proxy to Postgres that records for how long each transaction of PgBouncer uses a connection. */
export async function startTap(directDatabaseUrl: string) {
  const { hostname, port } = new URL(directDatabaseUrl)
  const times: number[] = []
  const server = createServer((client) => {
    const database = dial(Number(port), hostname)
    let beganAt: number | undefined
    let isLoggedIn = false
    client.on('data', (bytes) => {
      if (isLoggedIn) beganAt ??= performance.now()
      database.write(bytes)
    })
    database.on('data', (bytes) => {
      client.write(bytes)
      if (!bytes.subarray(-readyForQuery.length).equals(readyForQuery)) return
      if (beganAt !== undefined) times.push(performance.now() - beganAt)
      beganAt = undefined
      isLoggedIn = true
    })
    for (const [socket, other] of [
      [client, database],
      [database, client],
    ] as const) {
      socket.setNoDelay()
      socket.on('error', () => {})
      socket.on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    times,
    close: () => void server.close(),
  }
}

const meanMs = 20 // of a statement: 20 times the delays of a busy machine. Waiting grows in proportion to it
const utilization = 0.8 // of the connections: more would make the result depend on the smallest delay
const clients = 100 // more than ever wait

/** The statements of a check: times in proportion to those of real statements, at a rate that makes some of them wait. */
export function createPoolStatements(
  { connections, seconds }: Pick<PoolCheck, 'connections' | 'seconds'>,
  quantilesMs: number[],
) {
  const perSecond = (utilization * connections * 1000) / meanMs
  return createStatements([{ perSecond, meanMs, quantilesMs, cpuShare: 0 }], Math.ceil(perSecond * seconds))
}

/**
 * Runs statements that only sleep through a pool of `connections`, which `addNames` has added. So nothing but the pool
 * is busy, on any machine. Returns how long they waited, as PgBouncer counts it, and the time until their end.
 */
export async function checkPool(
  stack: Stack,
  connections: number,
  seconds: number,
  quantilesMs: number[],
): Promise<PoolCheck> {
  const name = `pool_${connections}`
  const sql = postgres(withDatabase(stack.databaseUrl, name), { max: clients, fetch_types: false, max_lifetime: null })
  const admin = openConsole(stack)
  const run = ({ otherMs }: Pick<Statement, 'otherMs'>) => sql`select pg_sleep(${otherMs / 1000})`
  try {
    await Promise.all(Array.from({ length: 2 * clients }, () => run({ otherMs: 1 }))) // opens all connections
    const statements = createPoolStatements({ connections, seconds }, quantilesMs)
    const before = await readTotals(admin, name)
    const times = await replay(statements, run)
    const after = await readTotals(admin, name)
    const perStatement = (key: keyof PoolerTotals) => (after[key] - before[key]) / statements.length
    const measured = { meanWaitMs: perStatement('waitMs'), p99Ms: percentile(times, 0.99) }
    return { connections, seconds, meanMs: perStatement('heldMs'), measured }
  } finally {
    await Promise.all([sql.end(), admin.end()])
  }
}

/** Runs each statement when it is due. Returns the times from then until their end, in ms. */
async function replay(statements: Statement[], run: (statement: Statement) => Promise<unknown>): Promise<number[]> {
  const startedAt = performance.now()
  return Promise.all(
    statements.map(async (statement) => {
      await sleep(startedAt + statement.atMs - performance.now())
      await run(statement)
      return performance.now() - startedAt - statement.atMs
    }),
  )
}
