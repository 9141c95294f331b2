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
 * `start` adds a server; `died` resolves when any ends before `stop()`; `hurry` kills the one that `stop()` waits for.
 * `signal` stops all at any time. Throws when the parts are not to be had or do not start, and leaves nothing running.
 */
export async function startStack({ directory, throwAway = false, report = () => {}, signal }: Options) {
  const home = resolve(directory)
  await stopOrphans(home)
  if (throwAway) rmSync(home, { recursive: true, force: true })
  mkdirSync(home, { recursive: true })

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
    if (throwAway) rmSync(home, { recursive: true, force: true })
  }
  const stop = () => (stopping ??= stopAll())
  const hurry = () => servers.findLast((server) => server.isRunning())?.kill()
  signal?.addEventListener('abort', stop)
  try {
    const urls = await startServers({ home, throwAway, report, signal, start })
    return { ...urls, start, died: death.promise, stop, hurry }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startServers({ home, throwAway, report, signal, start }: Required<Omit<Options>>)
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
