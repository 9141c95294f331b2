import { writeSync } from 'node:fs'

// Loaded into an API process with `--import`. Prints the longest block of its event loop, in ms, four times per second.

const intervalMs = 5
let longestMs = 0
let dueAt = performance.now() + intervalMs
let cpu = process.threadCpuUsage()

/** Runs once per turn. A timer is delayed by the turn's own CPU and by other processes, so the smaller value counts. */
setInterval(() => {
  const { user, system } = process.threadCpuUsage(cpu)
  const now = performance.now()
  longestMs = Math.max(longestMs, Math.min(now - dueAt, (user + system) / 1000))
  dueAt = now + intervalMs
  cpu = process.threadCpuUsage()
}, intervalMs).unref()

setInterval(() => {
  writeSync(2, `blocked ${longestMs.toFixed(1)}\n`)
  longestMs = 0
}, 250).unref()
