import { execFile, execFileSync, spawn } from 'node:child_process'
import { closeSync, globSync, openSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

type RunOptions = { signal?: AbortSignal; env?: NodeJS.ProcessEnv; input?: string }
type ServerOptions = { env?: NodeJS.ProcessEnv; stopSignal?: NodeJS.Signals; graceMs?: number; show?: boolean }
export type Server = ReturnType<typeof startServer>

/**
 * Runs a program until it exits and returns its output. `signal` kills it. If it fails, throws the last lines of its
 * stderr.
 */
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

// The shell writes the PID file before it starts the program, so that no process is lost. It also raises the file
// limit.
const shell = 'echo "$$ $1 $2" >"$0"; shift 2; ulimit -n "$(ulimit -Hn)" 2>&-; exec "$@"'

/**
 * Starts a process that runs until `stop()`. `ended` resolves with the reason why it exited.
 *
 * Its log is `NAME.log` in `directory`, or the terminal (`show`). While it runs, `NAME.pid` contains its PID, its stop
 * signal and its last argument, which identifies it. It has its own process group, so that Ctrl-C reaches only the
 * launcher, which stops all processes in order.
 */
export function startServer(directory: string, name: string, command: string[], options: ServerOptions = {}) {
  const { env, stopSignal = 'SIGTERM', graceMs = 20_000, show = false } = options
  const [pidFile, logFile] = [join(directory, `${name}.pid`), join(directory, `${name}.log`)]
  const log = openSync(logFile, 'w', 0o600)
  const args = ['-c', shell, pidFile, stopSignal, command.at(-1) ?? '', ...command]
  const child = spawn('sh', args, { detached: true, stdio: ['ignore', show ? 'pipe' : log, show ? 'pipe' : log], env })
  closeSync(log)
  child.stdout?.pipe(process.stdout, { end: false })
  child.stderr?.pipe(process.stderr, { end: false })

  const ended = Promise.withResolvers<Error>()
  child.once('error', ended.resolve)
  child.once('exit', (code, signal) => {
    rmSync(pidFile, { force: true })
    const tail = getTail(readFileSync(logFile, 'utf8'))
    ended.resolve(new Error(`${name} exited (${signal ?? `exit code ${code}`})${tail && `:\n${tail}`}`))
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

/**
 * Stops the processes that a killed launcher left running for `directory`, unless their PIDs now belong to other
 * programs.
 */
export async function stopOrphans(directory: string): Promise<void> {
  await Promise.all(globSync('*.pid', { cwd: directory }).map((name) => stopOrphan(join(directory, name))))
}

async function stopOrphan(pidFile: string): Promise<void> {
  const [, pid, signal, mark = ''] = /^(\d+) (\w+) (.+)/.exec(readFileSync(pidFile, 'utf8')) ?? []
  for (let tries = 0; pid && readCommand(pid).trim().endsWith(mark); tries += 1) {
    if (tries === 0) process.kill(Number(pid), signal)
    if (tries === 100) process.kill(-Number(pid), 'SIGKILL')
    await sleep(100)
  }
  rmSync(pidFile, { force: true })
}

/** Returns the command line of a process with spaces between its arguments, or an empty string if it is not running. */
export function readCommand(pid: string): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    return execFileSync('ps', ['-ww', '-o', 'command=', '-p', pid], { encoding: 'utf8' })
  } catch {
    return ''
  }
}

/**
 * Calls the listener when this process should stop: after Ctrl-C, a kill, a closed terminal, or when the launcher was
 * killed. Requests within half a second count as one, because npm repeats the terminal's Ctrl-C.
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
 * Acquires the lock `file` until this process exits. Returns false if another process holds it. This is SQLite's file
 * lock, which the kernel releases even after a crash, unlike a PID file.
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
