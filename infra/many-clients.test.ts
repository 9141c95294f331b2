import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
import { findPids, measureMemoryKb } from '../apps/bench/src/watch/processes.ts'
import { watchConnections } from '../packages/measure/src/connections.ts'
import { type Stack, startStack } from './local/stack.ts'
import { isFull, whyNotFull } from './testing.ts'

// Uses a separate stack, because a test that takes all connections of the shared one takes them from other tests.

const [processes, poolSize] = [100, 10] // WEB_CONCURRENCY x DATABASE_POOL_SIZE
const directory = join(tmpdir(), `sluice-clients-${process.pid}`)
let stack: Stack

beforeEach((context) => context.skip(!isFull, whyNotFull))
beforeAll(async () => {
  if (isFull) stack = await startStack({ directory, throwAway: true })
})
afterAll(async () => {
  if (isFull) await stack.stop()
})

/** Opens the pools of that many processes one after another, with a query per connection. Returns the error codes. */
async function connectAll(url: string) {
  const pools = Array.from({ length: processes }, () =>
    postgres(url, { max: poolSize, fetch_types: false, connect_timeout: 30, max_lifetime: null }),
  )
  onTestFinished(async () => void (await Promise.all(pools.map((pool) => pool.end({ timeout: 0 })))))
  const codes: string[] = []
  for (const pool of pools) codes.push(...(await queryAll(pool)))
  return { pools, codes }
}

/** Runs a query on each connection at once. Returns the error codes. */
async function queryAll(pool: postgres.Sql): Promise<string[]> {
  const results = await Promise.allSettled(Array.from({ length: poolSize }, () => pool`select 1`))
  return results.flatMap((result) => (result.status === 'rejected' ? String(result.reason.code) : []))
}

function measure() {
  const pids = findPids(directory, ['pgbouncer', 'postgres'])
  return { pgbouncer: measureMemoryKb(pids.pgbouncer), postgres: measureMemoryKb(pids.postgres) }
}

it('1,000 clients share at most 20 connections to Postgres, without an error', async ({ annotate }) => {
  const connections = watchConnections(stack)
  onTestFinished(connections.close)
  await connections.count()
  const before = measure()
  const { pools, codes } = await connectAll(stack.databaseUrl)
  expect(codes).toEqual([])
  expect((await Promise.all(pools.map(queryAll))).flat()).toEqual([])
  const { clients, waiting, backends } = await connections.count()
  expect(clients).toBe(processes * poolSize)
  expect(waiting).toBe(0)
  expect(backends).toBeLessThanOrEqual(20)
  const after = measure()
  const perClient = (after.pgbouncer - before.pgbouncer) / clients
  const perBackend = (after.postgres - before.postgres) / backends
  await annotate(
    `${clients} clients on ${backends} backends: ${perClient.toFixed(1)} kB a client, ${perBackend.toFixed(0)} kB a backend`,
  )
})

it('the same directly on Postgres ends in 53300: too many connections', async ({ annotate }) => {
  const { codes } = await connectAll(stack.directDatabaseUrl)
  expect(new Set(codes)).toEqual(new Set(['53300']))
  await annotate(`straight to Postgres: ${codes.length} of ${processes * poolSize} end in 53300`)
})
