import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { type Stack, startStack } from './local/stack.ts'

export type BreakableStack = Stack & ReturnType<typeof createFaults>

/** Creates a disposable stack whose commits survive a crash of Postgres, and the faults that can be injected. */
export async function startBreakableStack(directory: string): Promise<BreakableStack> {
  const stack = await startStack({ directory, throwAway: true })
  const faults = createFaults(stack, directory)
  await faults.inDatabase((sql) => sql`alter database sluice set synchronous_commit = on`)
  return { ...stack, ...faults }
}

function createFaults(stack: Stack, directory: string) {
  const noteOf = (name: string) => join(directory, `${name}.pid`)

  /** Undefined if it is not running. */
  const findPid = (name: string): number | undefined =>
    existsSync(noteOf(name)) ? Number.parseInt(readFileSync(noteOf(name), 'utf8'), 10) : undefined

  /** Connects directly to Postgres. */
  const inDatabase = async <T>(work: (sql: postgres.Sql) => Promise<T>): Promise<T> => {
    const sql = postgres(stack.directDatabaseUrl, { max: 1, fetch_types: false, onnotice: () => {} })
    try {
      return await work(sql)
    } finally {
      await sql.end()
    }
  }

  const end = async (name: string, signal: NodeJS.Signals) => {
    process.kill(findPid(name) ?? 0, signal)
    while (findPid(name)) await sleep(20)
  }

  return {
    findPid,
    inDatabase,

    terminateBackends: (durationMs: number) =>
      inDatabase(async (sql) => {
        for (const stopAt = performance.now() + durationMs; performance.now() < stopAt; await sleep(200)) {
          await sql`select pg_terminate_backend(pid) from pg_stat_activity
            where usename = current_user and pid <> pg_backend_pid()`
        }
      }),

    /** Ends Postgres while PgBouncer continues. `stack.startPostgres` starts it again. */
    stopPostgres: () => end('postgres', 'SIGINT'),

    /** `settings` replace those of `pgbouncer.ini` that begin with the same name. They stay for later restarts. */
    restartPgbouncer: async (settings: Record<string, number> = {}) => {
      await end('pgbouncer', 'SIGQUIT')
      const file = join(directory, 'pgbouncer.ini')
      const replace = (ini: string, [name, value]: [string, number]) =>
        ini.replace(new RegExp(`^${name} = .*`, 'm'), `${name} = ${value}`)
      writeFileSync(file, Object.entries(settings).reduce(replace, readFileSync(file, 'utf8')))
      await sleep(1000)
      stack.startPgbouncer()
    },

    /** SIGINT is its "fast" shutdown. SIGQUIT is the "immediate" one, after which it recovers as from a crash. */
    restartPostgres: async (signal: 'SIGINT' | 'SIGQUIT') => {
      await end('postgres', signal)
      stack.startPostgres()
    },

    /** Freezes all its processes: it accepts connections but never responds. */
    freezePostgres: async (durationMs: number) => {
      const postmaster = findPid('postgres') ?? 0
      process.kill(postmaster, 'SIGSTOP')
      const children = listChildren(postmaster)
      for (const pid of children) process.kill(pid, 'SIGSTOP')
      await sleep(durationMs)
      for (const pid of [...children, postmaster]) process.kill(pid, 'SIGCONT')
    },
  }
}

function listChildren(parent: number): number[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
  const pairs = lines.map((line) => line.trim().split(/\s+/).map(Number))
  return pairs.flatMap(([pid = 0, ppid]) => (ppid === parent ? [pid] : []))
}
