import { spawnSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { chownSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { obtainParts } from './parts.ts'
import { readCommand, run, type Server, startServer, stopOrphans } from './processes.ts'

type Options = { directory: string; throwAway?: boolean; report?: (line: string) => void; signal?: AbortSignal }
type Cluster = { bin: string; data: string; asUser: string[]; throwAway: boolean; signal?: AbortSignal }
type StartServer = (name: string, command: string[], options?: Parameters<typeof startServer>[3]) => Server
export type Stack = Awaited<ReturnType<typeof startStack>>

const nobody = 65_534
const template = join(import.meta.dirname, '../pgbouncer/pgbouncer.ini.template')

// initdb would ask the machine. This sorts by code point and knows letters by Unicode, everywhere and for good; only the
// full-text parser of PostgreSQL 17 still asks the C library what a letter is (lc-ctype).
const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
const ctype = `--lc-ctype=${process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8'}`

const settings = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=', // the path of a socket may have 107 bytes only
  'max_connections=100', // above PgBouncer's max_user_connections of 60: migrations and psql come straight in
  'timezone=GMT', // the one zone that needs no tzdata package
  'log_error_verbosity=terse', // DETAIL quotes rows that a constraint refuses: a log holds no documents
  'jit=off', // costs more than it saves on queries of milliseconds
  'shared_buffers=512MB', // holds 100,000 chunks and their indexes, 340 MB; taken as it is filled
]
// Waiting for the disk is most of a small transaction; this data dies with the run.
const careless = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']

/**
 * Starts a private Postgres with pgvector and a PgBouncer in `directory`, on free ports of 127.0.0.1, and waits until both
 * answer. The role `sluice` owns the database `sluice`; no other can log in. With `throwAway` nothing is flushed to disk,
 * the role may create databases, and `stop()` removes the folder. One stack a folder: the caller sees to that.
 * `start` adds a server; `startPostgres` and `startPgbouncer` start theirs again, once they have ended; `died` resolves
 * when any ends before `stop()`; `hurry` kills the one that `stop()` waits for. `signal` stops all at any time. Throws when
 * the parts are not to be had or do not start, and leaves nothing running.
 */
export async function startStack({ directory, throwAway = false, report = () => {}, signal }: Options) {
  const home = resolve(directory)
  const servers: Server[] = []
  const death = Promise.withResolvers<Error>()
  let stopping: Promise<void> | undefined
  const start: StartServer = (name, command, options) => {
    signal?.throwIfAborted()
    const server = startServer(home, name, command, options)
    servers.push(server)
    void server.ended.then((error) => stopping ?? death.resolve(error))
    return server
  }
  async function stopAll() {
    for (const server of servers.toReversed()) await server.stop()
    if (throwAway) remove(home)
  }
  const stop = () => (stopping ??= stopAll())
  const hurry = () => servers.findLast((server) => server.isRunning())?.kill()

  await stopOrphans(home)
  if (throwAway) remove(home)
  mkdirSync(home, { recursive: true })
  signal?.addEventListener('abort', stop)
  try {
    const { postgresBin: bin, pgbouncer } = await obtainParts(report, signal)
    const asUser = process.getuid?.() === 0 ? becomeNobody([home, bin]) : []
    const data = join(home, 'data')
    if (!existsSync(data)) {
      report('creating the database')
      for (const draft of globSync('data.*', { cwd: home })) remove(join(home, draft)) // of a killed start
      await createCluster({ bin, data, asUser, throwAway, signal })
    }
    report('starting PostgreSQL and PgBouncer')
    const [password, statsPassword] = readFileSync(join(data, 'userlist.txt'), 'utf8').match(/\w{32}/g) ?? []
    const [direct, pooled] = [await findFreePort(), await findFreePort()]
    const urlAt = (port: number) => `postgres://sluice:${password}@127.0.0.1:${port}/sluice`

    const options = [`port=${direct}`, ...settings, ...(throwAway ? careless : [])].flatMap((option) => ['-c', option])
    const command = [...asUser, join(bin, 'postgres'), ...options, '-D', data]
    const startPostgres = () => {
      rmSync(join(data, 'postmaster.pid'), { force: true }) // stale by now, but its number may be another process's
      return start('postgres', command, { stopSignal: 'SIGINT' }) // SIGINT = "fast"
    }
    await waitForAnswer(startPostgres(), urlAt(direct), 'select 1')

    const ini = fillTemplate({ POSTGRES_PORT: direct, LISTEN_PORT: pooled, AUTH_FILE: join(data, 'userlist.txt') })
    writeFileSync(join(home, 'pgbouncer.ini'), ini)
    const pooler = [...asUser, pgbouncer, join(home, 'pgbouncer.ini')]
    const startPgbouncer = () => start('pgbouncer', pooler, { stopSignal: 'SIGQUIT' }) // SIGTERM waits for clients
    const pgbouncerAdminUrl = `postgres://stats:${statsPassword}@127.0.0.1:${pooled}/pgbouncer`
    // Its console: a connection to Postgres from before the migration would not know the database's settings.
    await waitForAnswer(startPgbouncer(), pgbouncerAdminUrl, 'show version')
    const urls = { databaseUrl: urlAt(pooled), directDatabaseUrl: urlAt(direct), pgbouncerAdminUrl }
    return { ...urls, start, startPostgres, startPgbouncer, died: death.promise, stop, hurry }
  } catch (error) {
    await stop()
    if (throwAway) remove(home)
    throw error
  }
}

/** Removes the folders `test-PID` of killed test runs from `parent`, and what still runs in them. */
export async function removeLeftovers(parent: string): Promise<void> {
  for (const name of globSync('test-*', { cwd: parent })) {
    if (readCommand(name.slice('test-'.length)).includes('test.ts')) continue
    await stopOrphans(join(parent, name))
    remove(join(parent, name))
  }
}

function remove(directory: string): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 10 })
}

/**
 * Postgres refuses to run as root: it runs as nobody. Where nobody cannot pass (a checkout under /root) it gets the one
 * right to, in the smallest form there is (containers lack the first); access(2) heeds it only with that securebit.
 */
function becomeNobody(paths: string[]): string[] {
  const plain = `setpriv --reuid=${nobody} --regid=${nobody} --clear-groups`
  const withRight = (right: string) =>
    `${plain} --securebits=+no_setuid_fixup --inh-caps=-all,+${right} --ambient-caps=-all,+${right}`
  for (const prefix of [plain, withRight('dac_read_search'), withRight('dac_override')].map((line) =>
    line.split(' '),
  )) {
    const test = ([file = '', ...args]: string[], path: string) => spawnSync(file, [...args, 'test', '-x', path]).status
    if (paths.every((path) => test(prefix, path) === 0)) return prefix
  }
  throw new Error(`As root, the database runs as "nobody", who cannot reach ${paths.join(' or ')}: move the checkout`)
}

/** Makes the cluster with its role, database and passwords beside its place, and puts it there when it is whole. */
async function createCluster({ bin, data, asUser, throwAway, signal }: Cluster): Promise<void> {
  const draft = `${data}.${process.pid}`
  const userlist = join(draft, 'userlist.txt')
  const own = (path: string) => asUser.length > 0 && chownSync(path, nobody, nobody)
  mkdirSync(draft, { mode: 0o700 })
  own(draft)
  const auth = ['--username=postgres', '--auth-local=reject', '--auth-host=scram-sha-256'] // no password, no way in
  const initdb = [...locale, ctype, ...auth, ...(throwAway ? ['--no-sync'] : []), '-D', draft]
  await run([...asUser, join(bin, 'initdb'), ...initdb], { signal })
  const [password, statsPassword] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')]
  // Not every pgvector lets a plain role create it: so it comes with template1, which new databases are copies of.
  const input = `create extension vector;
create role sluice login ${throwAway ? 'createdb' : ''} password '${password}';
create database sluice owner sluice;
`
  const single = ['--single', '-c', 'exit_on_error=on', '-D', draft, 'template1']
  await run([...asUser, join(bin, 'postgres'), ...single], { signal, input })
  writeFileSync(userlist, `"sluice" "${password}"\n"stats" "${statsPassword}"\n`, { mode: 0o600 })
  own(userlist)
  renameSync(draft, data)
}

function fillTemplate(given: Record<string, string | number>): string {
  const values: typeof given = { POSTGRES_HOST: '127.0.0.1', LISTEN_ADDRESS: '127.0.0.1', ...given }
  return readFileSync(template, 'utf8').replace(/\$\{(\w+)\}/g, (name, key) => `${values[key] ?? name}`)
}

/** Whether a server can listen there. */
export function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  const answer = Promise.withResolvers<boolean>()
  const server = createServer().once('error', () => answer.resolve(false))
  server.listen(port, host, () => server.close(() => answer.resolve(true)))
  return answer.promise
}

/** Below the range from which the kernel numbers outgoing connections: one of those could take it before the server does. */
export async function findFreePort(): Promise<number> {
  const port = randomInt(20_000, 32_000)
  return (await isFree(port)) ? port : findFreePort()
}

/** Asks until there is an answer. Throws when the server ends, or after two minutes (a crash recovery takes seconds). */
async function waitForAnswer(server: Server, url: string, question: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const sql = postgres(url, { max: 1, fetch_types: false, prepare: false })
    try {
      await sql.unsafe(question).simple()
      return
    } catch (error) {
      if (!server.isRunning()) throw await server.ended
      if (tries === 1200) throw error
      await sleep(100)
    } finally {
      await sql.end({ timeout: 1 })
    }
  }
}
