import { execFileSync, spawn } from 'node:child_process'
import { closeSync, globSync, openSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

type Options = {
  env?: NodeJS.ProcessEnv
  stopSignal?: NodeJS.Signals
  graceMs?: number
  show?: boolean
  input?: string
}
export type Child = ReturnType<typeof startChild>

/**
 * Starts and stops the processes of one stack. Each has a log (`NAME.log`) and a note of who it is (`NAME.pid`) in
 * `directory`, and a process group of its own: Ctrl-C in a terminal reaches the launcher only, which stops them in order.
 */
export function createChildren(directory: string) {
  const children: Child[] = []
  const death = Promise.withResolvers<Error>()
  let stopping: Promise<void> | undefined

  function add(name: string, command: string[], options: Options): Child {
    if (stopping) throw new Error('stopped before it was up')
    const child = startChild(directory, name, command, options)
    children.push(child)
    return child
  }

  /** Starts a process that is to run until `stop()`; should it end before, `died` says so. */
  function start(name: string, command: string[], options: Options = {}): Child {
    const child = add(name, command, options)
    void child.exited.then((error) => stopping ?? death.resolve(error ?? new Error(`${name} ended by itself`)))
    return child
  }

  /** Runs a process to its end and returns what it printed. Throws the tail of that when it fails. */
  async function run(name: string, command: string[], options: Options = {}): Promise<string> {
    const error = await add(name, command, { ...options, group: true }).exited
    if (error) throw error
    return readFileSync(join(directory, `${name}.log`), 'utf8').trim()
  }

  async function stopAll() {
    for (const child of children.toReversed()) await child.stop()
  }

  /** Stops all, the last started first. */
  function stop(): Promise<void> {
    stopping ??= stopAll()
    return stopping
  }

  /** Kills the process that `stop()` is waiting for. */
  function hurry(): void {
    children.findLast((child) => child.isRunning())?.kill()
  }

  return { start, run, stop, hurry, died: death.promise }
}

// The shell writes the note before the process exists, so none escapes it, and gives the process all files it may open.
const shell = 'echo "$1$$ $2 $3" >"$0"; shift 3; ulimit -n "$(ulimit -Hn)" 2>&-; exec "$@"'

function startChild(directory: string, name: string, command: string[], options: Options) {
  const { env, stopSignal = 'SIGTERM', graceMs = 20_000, show = false, input, group = false } = options
  const [note, logFile] = [join(directory, `${name}.pid`), join(directory, `${name}.log`)]
  const log = openSync(logFile, 'w', 0o600)
  const output = show ? 'pipe' : log
  const args = ['-c', shell, note, group ? '-' : '', stopSignal, command.at(-1) ?? '', ...command]
  const child = spawn('sh', args, { detached: true, stdio: ['pipe', output, output], env })
  closeSync(log)
  child.stdin?.end(input)
  child.stdout?.pipe(process.stdout, { end: false })
  child.stderr?.pipe(process.stderr, { end: false })
  const ended = Promise.withResolvers<Error | undefined>()
  child.once('error', ended.resolve)
  child.once('close', (code, signal) => {
    rmSync(note, { force: true })
    const tail = readFileSync(logFile, 'utf8').trim().split('\n').slice(-12).join('\n')
    const how = signal ?? `exit code ${code}`
    ended.resolve(code === 0 ? undefined : new Error(`${name} stopped (${how})${tail && `:\n${tail}`}`))
  })
  const isRunning = () => child.pid !== undefined && child.exitCode === null && child.signalCode === null
  const kill = () => void (child.pid && isRunning() && process.kill(-child.pid, 'SIGKILL'))
  async function stop() {
    if (child.pid && isRunning()) process.kill(group ? -child.pid : child.pid, stopSignal)
    const timer = setTimeout(kill, graceMs)
    await ended.promise
    clearTimeout(timer)
  }
  return { exited: ended.promise, isRunning, kill, stop }
}

/** Stops what a killed launcher left running for `directory`: the processes of the notes, if they still are who they were. */
export async function stopOrphans(directory: string): Promise<void> {
  await Promise.all(globSync(join(directory, '*.pid')).map(stopOrphan))
}

async function stopOrphan(note: string) {
  const [, target, signal, mark = ''] = /^(-?\d+) (\w+) (.*)/.exec(readFileSync(note, 'utf8')) ?? []
  const pid = Math.abs(Number(target))
  for (let tries = 0; pid && readCommand(pid).includes(mark); tries += 1) {
    if (tries === 0) process.kill(Number(target), signal)
    if (tries === 100) process.kill(-pid, 'SIGKILL')
    await sleep(100)
  }
  rmSync(note, { force: true })
}

/**
 * Calls back when this process shall end: at Ctrl-C, a kill, a closed terminal, or when the parent (npm, the launcher) was
 * killed and cannot say so. npm repeats the terminal's Ctrl-C: what comes within half a second counts as one request.
 */
export function onStopRequest(listener: () => void): void {
  let last = 0
  const request = () => {
    if (Date.now() - last < 500) return
    last = Date.now()
    listener()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, request)
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    request()
  }, 500)
  watch.unref()
}

/** The command line of a running process, its arguments parted by spaces; empty when there is none. */
export function readCommand(pid: number): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    return execFileSync('ps', ['-ww', '-o', 'command=', '-p', `${pid}`], { encoding: 'utf8' })
  } catch {
    return ''
  }
}
