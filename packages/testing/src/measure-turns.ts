import { PerformanceObserver, type PerformanceObserverEntryList } from 'node:perf_hooks'

// Preloaded into a server with `--import`. Measures how long the event loop is blocked: the CPU time of the main thread
// between two runs of a timer that is due in every turn. CPU time excludes other processes of a busy machine. SIGWINCH
// logs one line about the turns since the previous one, and resets the counters.

type Span = { start: number; ms: number }
type Turn = Span & { cpuMs: number }

const beatMs = 1
const longTurnMs = 5 // shorter turns are not recorded
const reportSignal = 'SIGWINCH' // SIGUSR1 starts the debugger, SIGUSR2 shuts the server down

let cpuBefore = readProcessCpuMs()
let heldBefore = readHeldBytes()
let heldBytes = heldBefore // the most since the last report; counted with `--expose-gc` only
let turns: Turn[] = []
let collections: Span[] = []
let last = { at: performance.now(), cpuMs: readCpuMs() }

function readProcessCpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Returns the memory in use. One collection is not enough: buffers are freed in the background, until the next one. */
function readHeldBytes(): number {
  if (!globalThis.gc) return 0
  globalThis.gc()
  globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function readCpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

/** Records a turn. Linux counts CPU in ticks of 4 ms: CPU time beyond the elapsed time belongs to the previous turn. */
function beat(): void {
  const now = { at: performance.now(), cpuMs: readCpuMs() }
  const ms = now.at - last.at
  const cpuMs = Math.min(now.cpuMs - last.cpuMs, ms)
  if (cpuMs >= longTurnMs) turns.push({ start: last.at, ms, cpuMs })
  last = now
}

function addCollections(list: PerformanceObserverEntryList): void {
  collections.push(...list.getEntries().map(({ startTime, duration }) => ({ start: startTime, ms: duration })))
}

/**
 * Returns a turn's CPU time without garbage collection. Collections are reported in elapsed time, so their share of the
 * CPU time is assumed to be the same.
 */
function withoutGc({ start, ms, cpuMs }: Turn): number {
  const within = collections.filter((gc) => gc.start >= start && gc.start < start + ms)
  const gcMs = within.reduce((sum, gc) => sum + gc.ms, 0)
  return cpuMs * Math.max(0, 1 - gcMs / ms)
}

function report(): void {
  const line = {
    level: 30,
    pid: process.pid,
    msg: 'event loop turns',
    longestMs: Math.max(0, ...turns.map(({ cpuMs }) => cpuMs)),
    longestWithoutGcMs: Math.max(0, ...turns.map(withoutGc)),
    longestGcMs: Math.max(0, ...collections.map(({ ms }) => ms)),
    processCpuMs: readProcessCpuMs() - cpuBefore,
    heldBytes: heldBytes - heldBefore,
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
  turns = []
  collections = []
  cpuBefore = readProcessCpuMs()
  heldBefore = readHeldBytes()
  heldBytes = heldBefore
}

const observer = new PerformanceObserver(addCollections)
observer.observe({ entryTypes: ['gc'] })
setInterval(beat, beatMs).unref()
if (globalThis.gc) {
  setInterval(() => {
    heldBytes = Math.max(heldBytes, readHeldBytes())
  }, 100).unref()
}
process.on(reportSignal, () => {
  beat()
  // Collections of the last turns are reported in a later turn.
  setTimeout(report, 10 * beatMs)
})
