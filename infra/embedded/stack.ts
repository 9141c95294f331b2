import { spawnSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { type Child, createChildren, readCommand, stopOrphans } from './children.ts'
import { obtainParts } from './parts.ts'

type Options = { directory: string; throwAway?: boolean; report?: (line: string) => void; signal?: AbortSignal }
export type Stack = Awaited<ReturnType<typeof startStack>>

const nobody = 65534
const template = join(import.meta.dirname, '../pgbouncer/pgbouncer.ini.template')

// As initdb's defaults depend on the machine: sorted by code point, letters known by Unicode, alike everywhere for good.
// The full-text parser of PostgreSQL 17 still asks the C library which characters are letters (lc-ctype).
const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
const ctype = `--lc-ctype=${process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8'}`

const settings = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=', // a socket's path has at most 107 bytes, a checkout's may have more
  'max_connections=100', // above PgBouncer's max_user_connections of 60: migrations and psql come straight in
  'timezone=GMT', // every machine has it; UTC needs the tzdata package
  'jit=off', // compiling costs more than it saves on queries of milliseconds
]
// Flushing to disk is most of the time of a test's transactions; the data dies with the run.
const careless = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']

/**
 * Starts a private Postgres with pgvector and a PgBouncer in `directory`, on free ports of 127.0.0.1, and waits until both
 * answer. The role `sluice` owns the database `sluice`; no other can log in. With `throwAway` nothing is flushed to disk,
 * the role may create databases, and `stop()` removes the folder. One stack a folder: the caller sees to that.
 * `start` and `run` add processes; `died` resolves when one that was started ends before `stop()`, which `hurry` cuts short. An abort of `signal`
 * stops at any time. Throws when the parts are not to be had or one does not start; nothing is left running then.
 */
export async function startStack({ directory, throwAway = false, report = () => {}, signal }: Options) {
  const home = resolve(directory)
  signal?.throwIfAborted()
  await stopOrphans(home)
  if (throwAway) rmSync(home, { recursive: true, force: true })
  mkdirSync(home, { recursive: true })
  const children = createChildren(home)
  const stop = async () => {
    await children.stop()
    if (throwAway) rmSync(home, { recursive: true, force: true })
  }
  signal?.addEventListener('abort', () => void stop())
  try {
    const { postgresBin, pgbouncer } = await obtainParts(children.run, report)
    const demote = process.getuid?.() === 0 ? buildDemotion([home, postgresBin]) : []
    const data = join(home, 'data')
    if (!existsSync(data)) report('creating the database')
    if (!existsSync(data)) await createCluster({ run: children.run, postgresBin, demote, data, throwAway })
    report('starting PostgreSQL and PgBouncer')
    const [sluice, stats] = readFileSync(join(data, 'userlist.txt'), 'utf8').match(/\w{32}/g) ?? []
    const [direct, pooled] = [await findFreePort(), await findFreePort()]
    const urlAt = (port: number) => `postgres://sluice:${sluice}@127.0.0.1:${port}/sluice`

    rmSync(join(data, 'postmaster.pid'), { force: true }) // stale: its process was stopped, or its number is another's now
    const options = [`port=${direct}`, ...settings, ...(throwAway ? careless : [])].flatMap((option) => ['-c', option])
    const command = [...demote, join(postgresBin, 'postgres'), ...options, '-D', data]
    await waitForAnswer(children.start('postgres', command, { stopSignal: 'SIGINT' }), urlAt(direct)) // SIGINT = fast

    const ini = join(home, 'pgbouncer.ini')
    writeFileSync(
      ini,
      fillTemplate({ POSTGRES_PORT: direct, LISTEN_PORT: pooled, AUTH_FILE: join(data, 'userlist.txt') }),
    )
    // SIGTERM would wait for the clients to leave (since 1.23)
    const pooler = children.start('pgbouncer', [...demote, pgbouncer, ini], { stopSignal: 'SIGQUIT' })
    await waitForAnswer(pooler, urlAt(pooled))
    const pgbouncerAdminUrl = `postgres://stats:${stats}@127.0.0.1:${pooled}/pgbouncer`
    const { start, run, died, hurry } = children
    return {
      databaseUrl: urlAt(pooled),
      directDatabaseUrl: urlAt(direct),
      pgbouncerAdminUrl,
      start,
      run,
      died,
      stop,
      hurry,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Removes the folder of a throw-away stack, `NAME-PID`, and what still runs in it, when the process PID that made it is gone. */
export async function removeLeftover(directory: string): Promise<void> {
  if (readCommand(Number(directory.split('-').at(-1))).includes('node')) return
  await stopOrphans(directory)
  rmSync(directory, { recursive: true, force: true })
}

/** Postgres refuses to run as root: it runs as nobody, who may also pass through folders such as /root where needed. */
function buildDemotion(paths: string[]): string[] {
  const plain = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']
  const passing = [...plain, '--inh-caps=-all,+dac_read_search', '--ambient-caps=-all,+dac_read_search']
  const reaches = ([command = '', ...args]: string[]) =>
    paths.every((path) => spawnSync(command, [...args, 'test', '-x', path]).status === 0)
  const demotion = [plain, passing].find(reaches)
  if (!demotion)
    throw new Error(`As root the database runs as "nobody", who cannot reach ${paths[0]}: move the checkout`)
  return demotion
}

type Cluster = { run: Stack['run']; postgresBin: string; demote: string[]; data: string; throwAway: boolean }

/** Makes the cluster with its role, database and passwords beside its place, and puts it there when it is whole. */
async function createCluster({ run, postgresBin, demote, data, throwAway }: Cluster) {
  const draft = `${data}.new`
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(draft, { mode: 0o700 })
  if (demote.length > 0) chownSync(draft, nobody, nobody)
  const auth = ['--username=postgres', '--auth-local=reject', '--auth-host=scram-sha-256'] // no password = no log in
  const initdb = [join(postgresBin, 'initdb'), ...locale, ctype, ...auth, throwAway ? '--no-sync' : '--sync', draft]
  await run('initdb', [...demote, ...initdb])
  const [sluice, stats] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')]
  // Not every pgvector lets a plain role create it: it comes with template1, from which each database is copied.
  const sql = `create extension vector;
create role sluice login password '${sluice}' ${throwAway ? 'createdb' : ''};
create database sluice owner sluice;
`
  const single = [join(postgresBin, 'postgres'), '--single', '-c', 'exit_on_error=on', 'template1', '-D', draft]
  await run('create', [...demote, ...single], { input: sql })
  writeFileSync(join(draft, 'userlist.txt'), `"sluice" "${sluice}"\n"stats" "${stats}"\n`, { mode: 0o600 })
  if (demote.length > 0) chownSync(join(draft, 'userlist.txt'), nobody, nobody)
  renameSync(draft, data)
}

function fillTemplate(values: Record<string, string | number>): string {
  const all: typeof values = { POSTGRES_HOST: '127.0.0.1', LISTEN_ADDRESS: '127.0.0.1', ...values }
  return readFileSync(template, 'utf8').replace(/\$\{(\w+)\}/g, (whole, name) => `${all[name] ?? whole}`)
}

/** Whether a server can listen there. Throws for a number that is no port. */
export function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  const { promise, resolve: settle } = Promise.withResolvers<boolean>()
  const server = createServer().once('error', () => settle(false))
  server.listen({ port, host, exclusive: true }, () => server.close(() => settle(true)))
  return promise
}

// Below the range from which the kernel numbers outgoing connections: those would take it between the look and the use.
async function findFreePort(): Promise<number> {
  const port = randomInt(20_000, 32_000)
  return (await isFree(port)) ? port : findFreePort()
}

/** Asks until there is an answer. Throws when the process ends, or after two minutes (a crash recovery takes seconds). */
async function waitForAnswer(child: Child, url: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const sql = postgres(url, { max: 1, fetch_types: false, prepare: false, connect_timeout: 5 })
    try {
      await sql`select 1`
      return
    } catch (error) {
      if (!child.isRunning()) throw (await child.exited) ?? error
      if (tries === 1200) throw error
      await sleep(100)
    } finally {
      await sql.end({ timeout: 1 })
    }
  }
}
