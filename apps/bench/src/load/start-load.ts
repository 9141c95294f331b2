import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Load } from './plan.ts'
import { type Counts, createTally, type LoadResult } from './tally.ts'

const program = fileURLToPath(new URL('load-process.ts', import.meta.url))

/** Starts a load in a separate process, until `signal` aborts. `counts` are live, and `result` rejects on failure. */
export function startLoad(load: Load, signal: AbortSignal) {
  const child = spawn(process.execPath, [program, JSON.stringify(load)], {
    signal,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { counts } = createTally()
  const { promise, resolve, reject } = Promise.withResolvers<LoadResult>()
  createInterface(child.stdout).on('line', (line) => {
    const message: { counts?: Counts; result?: LoadResult } = JSON.parse(line)
    Object.assign(counts, message.counts)
    if (message.result) resolve(message.result)
  })
  child.on('error', reject)
  child.on('close', (code) => reject(new Error(`The load process exited early with code ${code}.`)))
  return { pid: child.pid ?? 0, counts, result: promise }
}
