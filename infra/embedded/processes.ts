import { execFile, execFileSync, spawn } from 'node:child_process'
import { closeSync, globSync, openSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

type RunOptions = { signal?: AbortSignal; env?: NodeJS.ProcessEnv; input?: string }
type ServerOptions = { env?: NodeJS.ProcessEnv; stopSignal?: NodeJS.Signals; graceMs?: number; show?: boolean }
export type Server = ReturnType<typeof startServer>

/** Runs a program to its end, which `signal` hastens, and returns what it printed. Throws the end of its complaint if it fails. */
export async function run([file = '', ...args]: string[], { signal, env, input }: RunOptions = {}): Promise<string> {
  signal?.throwIfAborted()
  const running = promisify(execFile)(file, args, { env })
  signal?.addEventListener('abort', () => running.child.kill())
  running.child.stdin?.end(input)
  const { stdout, stderr } = await running.catch((error) => {
    throw new Error(getTail(error.stderr || error.message), { cause: error })
  })
  return `${stdout}${stderr}`.trim()
}

// The shell notes who the process is before it exists, so that none escapes, and gives it all the files it may open.
const shell = 'echo "$$ $1 $2" >"$0"; shift 2; ulimit -n "$(ulimit -Hn)" 2>&-; exec "$@"'

/**
 * Starts a process that is to run until `stop()`; `ended` says why it did. Its log is `NAME.log` in `directory`, or the
 * terminal (`show`); its number, stop signal and last argument, by which it is known, are in `NAME.pid` while it runs.
 * It has a process group of its own: Ctrl-C in a terminal reaches the launcher only, which stops things in order.
 */
export function startServer(directory: string, name: string, command: string[], options: ServerOptions = {}) {
  const { env, stopSignal = 'SIGTERM', graceMs = 20_000, show = false } = options
  const [note, logFile] = [join(directory, `${name}.pid`), join(directory, `${name}.log`)]
  const log = openSync(logFile, 'w', 0o600)
  const args = ['-c', shell, note, stopSignal, command.at(-1) ?? '', ...command]
  const child = spawn('sh', args, { detached: true, stdio: ['ignore', show ? 'pipe' : log, show ? 'pipe' : log], env })
  closeSync(log)
  child.stdout?.pipe(process.stdout, { end: false })
  child.stderr?.pipe(process.stderr, { end: false })

  const ended = Promise.withResolvers<Error>()
  child.once('error', ended.resolve)
  child.once('exit', (code, signal) => {
    rmSync(note, { force: true })
    const tail = getTail(readFileSync(logFile, 'utf8'))
    ended.resolve(new Error(`${name} ended (${signal ?? `exit code ${code}`})${tail && `:\n${tail}`}`))
  })
  const isRunning = () => child.pid !== undefined && child.exitCode === null && child.signalCode === null
  const kill = () => void (child.pid && isRunning() && process.kill(-child.pid, 'SIGKILL'))
  async function stop(): Promise<void> {
    child.kill(stopSignal)
    const timer = setTimeout(kill, graceMs)
    await ended.promise
    clearTimeout(timer)
  }
  return { ended: ended.promise, isRunning, kill, stop }
}

function getTail(text: string): string {
  return text.trim().split('\n').slice(-12).join('\n')
}

/** Stops what a killed launcher left running for `directory`: the processes of its notes, if they still are who they were. */
export async function stopOrphans(directory: string): Promise<void> {
  await Promise.all(globSync('*.pid', { cwd: directory }).map((name) => stopOrphan(join(directory, name))))
}

async function stopOrphan(note: string): Promise<void> {
  const [, pid, signal, mark = ''] = /^(\d+) (\w+) (.+)/.exec(readFileSync(note, 'utf8')) ?? []
  for (let tries = 0; pid && readCommand(pid).trim().endsWith(mark); tries += 1) {
    if (tries === 0) process.kill(Number(pid), signal)
    if (tries === 100) process.kill(-Number(pid), 'SIGKILL')
    await sleep(100)
  }
  rmSync(note, { force: true })
}

/** The command line of a process, its arguments parted by spaces; empty when it does not run. */
export function readCommand(pid: string): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    return execFileSync('ps', ['-ww', '-o', 'command=', '-p', pid], { encoding: 'utf8' })
  } catch {
    return ''
  }
}

/**
 * Calls back when this process shall end: Ctrl-C, kill, a closed terminal, or a launcher that was killed and cannot say so.
 * npm repeats the terminal's Ctrl-C: what comes within half a second is one request.
 */
export function onStopRequest(listener: () => void): void {
  let last = 0
  const request = () => {
    if (Date.now() - last > 500) listener()
    last = Date.now()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, request)
  process.once('disconnect', request)
  if (process.connected === false) request()
}

const locks: DatabaseSync[] = []

/**
 * Takes the lock named by `file` for the life of this process; false when another process has it. The kernel keeps it (it
 * is SQLite's file lock), so it goes with the process however that ends, which a file with a number in it does not.
 */
export function takeLock(file: string): boolean {
  const lock = new DatabaseSync(file)
  try {
    lock.exec('begin exclusive')
    return locks.push(lock) > 0
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === 5) return false // SQLITE_BUSY
    throw error
  }
}
