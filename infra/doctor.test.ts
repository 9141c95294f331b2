import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrate } from '@repo/db/migrate'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checks } from '../apps/cli/src/doctor/checks.ts'
import { examine } from '../apps/cli/src/doctor/examine.ts'
import { readDoctorConfig } from '../packages/config/src/index.ts'
import { isFree, type Stack, startStack } from './local/stack.ts'

// Runs `npm run manage -- doctor` on a separate stack, whose PgBouncer is misconfigured in one way after another.

const directory = join(tmpdir(), `sluice-doctor-${process.pid}`)
const ini = join(directory, 'pgbouncer.ini')
let stack: Stack
let asItWas: string

beforeAll(async () => {
  stack = await startStack({ directory, throwAway: true })
  asItWas = readFileSync(ini, 'utf8')
})
afterAll(() => stack.stop())

function signalServer(name: string, signal: NodeJS.Signals) {
  process.kill(Number(readFileSync(join(directory, `${name}.pid`), 'utf8').split(' ')[0]), signal)
}

/** Returns the reported problems after PgBouncer has loaded its settings with this one changed. */
async function diagnoseWith(setting: string, value: string): Promise<string[]> {
  writeFileSync(ini, asItWas.replace(new RegExp(`^${setting} = .*$`, 'm'), `${setting} = ${value}`))
  signalServer('pgbouncer', 'SIGHUP')
  await expect.poll(() => readSetting(setting)).toBe(value)
  await closeBackends()
  return diagnose()
}

/** PgBouncer loses track of the statements of connections opened under other settings. */
async function closeBackends() {
  const direct = postgres(stack.directDatabaseUrl, { max: 1, fetch_types: false })
  await direct`select pg_terminate_backend(pid, 5000) from pg_stat_activity
    where usename = current_user and pid <> pg_backend_pid()`
  await direct.end()
}

async function readSetting(name: string): Promise<string> {
  const console = postgres(stack.pgbouncerAdminUrl, { max: 1, fetch_types: false, prepare: false })
  const settings = await console.unsafe('show config').simple()
  await console.end()
  return settings.find(({ key }) => key === name)?.value
}

async function diagnose(pgbouncerAdminUrl = stack.pgbouncerAdminUrl): Promise<string[]> {
  const config = readDoctorConfig({
    DATABASE_URL: stack.databaseUrl,
    DIRECT_DATABASE_URL: stack.directDatabaseUrl,
    PGBOUNCER_ADMIN_URL: pgbouncerAdminUrl,
    PORT: '0',
  })
  const lines: string[] = []
  for await (const { level, line } of examine(checks, config)) if (level !== 'ok') lines.push(line)
  return lines
}

const line = (start: string) => expect.stringMatching(new RegExp(`^${start}`))

it('an empty database', async () => {
  expect(await diagnose()).toContainEqual(line('FAIL  migrations: (\\d) of \\1 are missing'))
})

it('PgBouncer connections from before the migration, which lack the settings', async () => {
  await migrate({ directUrl: stack.directDatabaseUrl, embedder: { model: 'offline-384', dimensions: 384 } })
  expect(await diagnose()).toEqual([
    line('warn  settings: statement_timeout is 0 instead of .*, then restart PgBouncer: its open connections keep'),
  ])
})

it('named statements disabled', async () => {
  expect(await diagnoseWith('max_prepared_statements', '0')).toEqual(
    expect.arrayContaining([
      line(
        'FAIL  pooler: named prepared statements are lost .* Fix: set max_prepared_statements = 200 in pgbouncer.ini',
      ),
      line('FAIL  pgbouncer: max_prepared_statements is 0. Fix: set max_prepared_statements = 200'),
    ]),
  )
})

it.each(['session', 'statement'])('%s mode', async (mode) => {
  const lines = await diagnoseWith('pool_mode', mode)
  expect(lines).toContainEqual(line('FAIL  pooler: .* Fix: set pool_mode = transaction'))
  expect(lines).toContainEqual(line(`FAIL  pgbouncer: pool_mode is ${mode}. Fix: set pool_mode = transaction`))
})

it('no PgBouncer console at PGBOUNCER_ADMIN_URL', async () => {
  expect(await diagnose(stack.directDatabaseUrl)).toContainEqual(
    line('FAIL  pgbouncer: .* Fix: set PGBOUNCER_ADMIN_URL'),
  )
})

it('a Postgres that PgBouncer cannot reach', async () => {
  signalServer('postgres', 'SIGKILL')
  await expect.poll(() => isFree(Number(new URL(stack.directDatabaseUrl).port))).toBe(true)
  expect(await diagnose()).toEqual(
    expect.arrayContaining([line('FAIL  database: '), line('FAIL  direct: connect ECONNREFUSED')]),
  )
})
