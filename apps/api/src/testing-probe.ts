// Preloaded (`--import`) into a process under test. SIGWINCH makes it log its measurements since the last signal. With
// `--expose-gc` it also records the peak memory growth. Garbage collection distorts the other measurements.

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

// CPU time of the main thread between two timers, so that a busy machine does not lengthen turns.
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
