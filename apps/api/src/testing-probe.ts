// Preloaded (`--import`) into a process that a test watches. SIGWINCH makes it log what it has seen since the last one. With
// `--expose-gc` it also notes the most memory in use beyond the beginning; garbage collection spoils the other figures.

const start = () => ({ longestTurnMs: 0, cpu: process.cpuUsage(), heldBytes: 0 })
const readTurnUs = () => {
  const { user, system } = process.threadCpuUsage()
  return user + system
}
const readHeld = () => {
  void globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

let seen = start()
let turnUs = readTurnUs()
let baseline: number | undefined

// CPU of the main thread between two timers, so that a busy machine makes no turn longer.
setInterval(() => {
  const now = readTurnUs()
  seen.longestTurnMs = Math.max(seen.longestTurnMs, (now - turnUs) / 1000)
  turnUs = now
}, 1).unref()

if (globalThis.gc) {
  setInterval(() => {
    if (baseline !== undefined) seen.heldBytes = Math.max(seen.heldBytes, readHeld() - baseline)
  }, 100).unref()
}

process.on('SIGWINCH', () => {
  const { user, system } = process.cpuUsage(seen.cpu)
  const { longestTurnMs, heldBytes } = seen
  const line = { level: 30, pid: process.pid, msg: 'probe', longestTurnMs, heldBytes, cpuMs: (user + system) / 1000 }
  process.stdout.write(`${JSON.stringify(line)}\n`)
  baseline = readHeld()
  turnUs = readTurnUs()
  seen = start()
})
