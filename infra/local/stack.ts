import { spawnSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { chownSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { ensureBinaries } from './binaries.ts'
import { readCommand, run, type Server, startServer, stopOrphans } from './processes.ts'

type Options = { directory: string; throwAway?: boolean; report?: (line: string) => void; signal?: AbortSignal }
type Cluster = { bin: string; data: string; asUser: string[]; throwAway: boolean; signal?: AbortSignal }
type StartServer = (name: string, command: string[], options?: Parameters<typeof startServer>[3]) => Server
export type Stack = Awaited<ReturnType<typeof startStack>>

const nobody = 65_534
const template = join(import.meta.dirname, '../pgbouncer/pgbouncer.ini.template')

// Makes sorting and character classes independent of the machine: by code point and by Unicode. Only the full-text
// parser of PostgreSQL 17 still uses the C library (lc-ctype).
const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
const ctype = `--lc-ctype=${process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8'}`

const settings = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=', // socket paths are limited to 107 bytes
  'max_connections=100', // above PgBouncer's max_user_connections of 60, because migrations and psql connect directly
  'timezone=GMT', // the only zone that needs no tzdata package
  'log_error_verbosity=terse', // DETAIL quotes rows that violate a constraint; logs must not contain documents
  'jit=off', // costs more than it saves on queries of milliseconds
  'shared_buffers=512MB', // holds 100,000 chunks and their indexes (340 MB); allocated as it fills
]
// Small transactions mostly wait for the disk, and this data is deleted after the run.
const unsafeSettings = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']

/**
 * Starts a private Postgres with pgvector and a PgBouncer in `directory`, on free ports of 127.0.0.1, and waits until
 * both respond. The role `sluice` owns the database `sluice`, and no other role can log in. With `throwAway`, nothing
 * is flushed to disk, the role may create databases and replicate, and `stop()` deletes the folder. The caller makes sure that there
 * is only one stack per folder.
 *
 * `start` adds a server. `startPostgres` and `startPgbouncer` restart theirs after it has exited, and
 * `startPostgres` also starts a copy of the data under another name. `exited` resolves
 * when a server exits before `stop()`. `killNext` kills the server that `stop()` is waiting for. `signal` stops
 * everything. Throws if the binaries are not available or do not start, and leaves nothing running.
 */
export async function startStack({ directory, throwAway = false, report = () => {}, signal }: Options) {
  const home = resolve(directory)
  const servers: Server[] = []
  const failure = Promise.withResolvers<Error>()
  let stopping: Promise<void> | undefined
  const start: StartServer = (name, command, options) => {
    signal?.throwIfAborted()
    const server = startServer(home, name, command, options)
    servers.push(server)
    void server.ended.then((error) => stopping ?? failure.resolve(error))
    return server
  }
  async function stopAll() {
    for (const server of servers.toReversed()) await server.stop()
    if (throwAway) remove(home)
  }
  const stop = () => (stopping ??= stopAll())
  const killNext = () => servers.findLast((server) => server.isRunning())?.kill()

  await stopOrphans(home)
  if (throwAway) remove(home)
  mkdirSync(home, { recursive: true })
  signal?.addEventListener('abort', stop)
  try {
    const { postgresBin: bin, pgbouncer } = await ensureBinaries(report, signal)
    const asUser = process.getuid?.() === 0 ? becomeNobody([home, bin]) : []
    const data = join(home, 'data')
    if (!existsSync(data)) {
      report('creating the database')
      for (const draft of globSync('data.*', { cwd: home })) remove(join(home, draft)) // left by a killed start
      await createCluster({ bin, data, asUser, throwAway, signal })
    }
    report('starting PostgreSQL and PgBouncer')
    const [password, statsPassword] = readFileSync(join(data, 'userlist.txt'), 'utf8').match(/\w{32}/g) ?? []
    const [direct, pooled] = [await findFreePort(), await findFreePort()]
    const urlAt = (port: number) => `postgres://sluice:${password}@127.0.0.1:${port}/sluice`

    const startPostgres = (name = 'postgres', port = direct, folder = data) => {
      rmSync(join(folder, 'postmaster.pid'), { force: true }) // stale, but its PID may belong to another process
      const allSettings = [`port=${port}`, ...settings, ...(throwAway ? unsafeSettings : [])]
      const options = allSettings.flatMap((setting) => ['-c', setting])
      const command = [...asUser, join(bin, 'postgres'), ...options, '-D', folder]
      return start(name, command, { stopSignal: 'SIGINT' }) // SIGINT = "fast"
    }
    await waitForResponse(startPostgres(), urlAt(direct), 'select 1')

    const ini = fillTemplate({ POSTGRES_PORT: direct, LISTEN_PORT: pooled, AUTH_FILE: join(data, 'userlist.txt') })
    writeFileSync(join(home, 'pgbouncer.ini'), ini)
    const pooler = [...asUser, pgbouncer, join(home, 'pgbouncer.ini')]
    const startPgbouncer = () => start('pgbouncer', pooler, { stopSignal: 'SIGQUIT' }) // SIGTERM waits for clients
    const pgbouncerAdminUrl = `postgres://stats:${statsPassword}@127.0.0.1:${pooled}/pgbouncer`
    // Asks the console only: a connection to Postgres that is opened before the migration would lack the database's
    // settings.
    await waitForResponse(startPgbouncer(), pgbouncerAdminUrl, 'show version')
    const urls = { databaseUrl: urlAt(pooled), directDatabaseUrl: urlAt(direct), pgbouncerAdminUrl }
    return { ...urls, start, startPostgres, startPgbouncer, exited: failure.promise, stop, killNext }
  } catch (error) {
    await stop()
    if (throwAway) remove(home)
    throw error
  }
}

/** Deletes the folders `test-PID` of killed test runs in `parent` and stops their processes. */
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
 * Returns a command prefix that runs a program as `nobody`, because Postgres refuses to run as root. If `nobody` cannot
 * reach the paths (a checkout under /root), the program gets the smallest capability that lets it: containers lack the
 * first one, and access(2) honours it only with that securebit.
 */
function becomeNobody(paths: string[]): string[] {
  const plain = `setpriv --reuid=${nobody} --regid=${nobody} --clear-groups`
  const withCapability = (name: string) =>
    `${plain} --securebits=+no_setuid_fixup --inh-caps=-all,+${name} --ambient-caps=-all,+${name}`
  for (const prefix of [plain, withCapability('dac_read_search'), withCapability('dac_override')].map((line) =>
    line.split(' '),
  )) {
    const test = ([file = '', ...args]: string[], path: string) => spawnSync(file, [...args, 'test', '-x', path]).status
    if (paths.every((path) => test(prefix, path) === 0)) return prefix
  }
  throw new Error(
    `If you are root, the database runs as "nobody", which cannot access ${paths.join(' or ')}. Move the checkout`,
  )
}

/** Creates the cluster with its role, database and passwords in a draft folder and renames that when it is complete. */
async function createCluster({ bin, data, asUser, throwAway, signal }: Cluster): Promise<void> {
  const draft = `${data}.${process.pid}`
  const userlist = join(draft, 'userlist.txt')
  const own = (path: string) => asUser.length > 0 && chownSync(path, nobody, nobody)
  mkdirSync(draft, { mode: 0o700 })
  own(draft)
  const auth = ['--username=postgres', '--auth-local=reject', '--auth-host=scram-sha-256'] // every login needs a password
  const initdb = [...locale, ctype, ...auth, ...(throwAway ? ['--no-sync'] : []), '-D', draft]
  await run([...asUser, join(bin, 'initdb'), ...initdb], { signal })
  const [password, statsPassword] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')]
  // Some builds of pgvector require a superuser, so it is created in template1, from which new databases are copied.
  const input = `create extension vector;
create role sluice login ${throwAway ? 'createdb replication' : ''} password '${password}';
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

/** Returns whether the port is free. */
export function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  const answer = Promise.withResolvers<boolean>()
  const server = createServer().once('error', () => answer.resolve(false))
  server.listen(port, host, () => server.close(() => answer.resolve(true)))
  return answer.promise
}

/**
 * Returns a free port below the kernel's range for outgoing connections, one of which could take it before the server
 * does.
 */
export async function findFreePort(): Promise<number> {
  const port = randomInt(20_000, 32_000)
  return (await isFree(port)) ? port : findFreePort()
}

/**
 * Repeats the query until it succeeds. Throws if the server exits, or after two minutes (a crash recovery takes
 * seconds).
 */
async function waitForResponse(server: Server, url: string, query: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const sql = postgres(url, { max: 1, fetch_types: false, prepare: false })
    try {
      await sql.unsafe(query).simple()
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
