import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { isFree, type Stack, startStack } from './stack.ts'

// Runs another stack next to that of `npm test` and checks what clients can rely on.
const directory = join(tmpdir(), `sluice stack-${process.pid}`)
let stack: Stack

beforeAll(async () => {
  stack = await startStack({ directory, throwAway: true })
})
afterAll(() => stack.stop())

async function ask(url: string, query: string) {
  const sql = postgres(url, { max: 1, fetch_types: false })
  try {
    return [...(await sql.unsafe(query).simple())]
  } finally {
    await sql.end()
  }
}

it('the role is not a superuser but may create databases for the tests', async () => {
  const [role] = await ask(stack.databaseUrl, 'select rolsuper, rolcreatedb from pg_roles where rolname = current_user')
  expect(role).toEqual({ rolsuper: false, rolcreatedb: true })
})

it('a new database has pgvector', async () => {
  await ask(stack.directDatabaseUrl, 'create database fresh')
  const [row] = await ask(
    stack.databaseUrl.replace(/sluice$/, 'fresh'),
    "select '[3,4]'::vector <-> '[0,0]' as distance",
  )
  expect(row).toEqual({ distance: 5 })
})

it('full-text search and sorting handle non-ASCII letters the same way on every machine', async () => {
  const query = `select to_tsvector('simple', 'ÉCOLE')::text as words, array_to_string(array(
    select word from unnest(array['é', 'z', 'Z', 'a']) word order by word), '') as sorted`
  expect(await ask(stack.databaseUrl, query)).toEqual([{ words: "'école':1", sorted: 'Zazé' }])
})

it('the stats user can read the pools, which are in transaction mode, but not pause them', async () => {
  const pools = await ask(stack.pgbouncerAdminUrl, 'show pools')
  expect(pools.find(({ database }) => database === 'sluice')).toMatchObject({ pool_mode: 'transaction' })
  await expect(ask(stack.pgbouncerAdminUrl, 'pause')).rejects.toThrow(/admin access needed/)
})

it('Postgres and PgBouncer reject a wrong password', async () => {
  for (const url of [stack.databaseUrl, stack.directDatabaseUrl])
    await expect(ask(url.replace(/:\w{32}@/, ':wrong@'), 'select 1')).rejects.toThrow(/authentication failed/)
})

it('the superuser cannot log in', async () => {
  const url = stack.directDatabaseUrl.replace('//sluice:', '//postgres:')
  await expect(ask(url, 'select 1')).rejects.toThrow(/authentication failed/)
})

it('PgBouncer can open as many files as the machine allows', ({ skip }) => {
  skip(process.platform !== 'linux', 'reads /proc')
  const pid = readFileSync(join(directory, 'pgbouncer.pid'), 'utf8').split(' ')[0]
  const limit = readFileSync(`/proc/${pid}/limits`, 'utf8').match(/open files +(\d+) +(\d+)/)
  expect(limit?.[1]).toBe(limit?.[2])
})

it('a port is free until a server listens on it', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  expect(await isFree(port)).toBe(false)
  await new Promise((resolve) => server.close(resolve))
  expect(await isFree(port)).toBe(true)
})

it('stopping a temporary stack deletes its folder', async () => {
  await stack.stop()
  expect(existsSync(directory)).toBe(false)
})
