import { globSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

type CallFrame = { functionName: string; url: string; lineNumber: number }
type Profile = {
  /** In µs, on the machine's monotonic clock. */
  startTime: number
  nodes: { id: number; callFrame: CallFrame }[]
  samples: number[]
  timeDeltas: number[]
}

const idle = new Set(['(idle)', '(program)'])

/** Returns the Node options that write a CPU profile into this folder on exit. Deletes existing profiles. */
export function startProfile(folder: string): string[] {
  const directory = join(folder, 'profile')
  rmSync(directory, { recursive: true, force: true })
  return ['--cpu-prof', `--cpu-prof-dir=${directory}`]
}

/** Returns the profile of the busiest process. Throws if there is none. */
export function readProfile(folder: string): Profile {
  const files = globSync('profile/*.cpuprofile', { cwd: folder }).map((file) => join(folder, file))
  const [largest] = files.sort((a, b) => statSync(b).size - statSync(a).size)
  if (!largest) throw new Error('The API wrote no CPU profile.')
  return JSON.parse(readFileSync(largest, 'utf8'))
}

/** Returns the ten functions with the most self time since `fromMs`, in percent of the time that was not idle. */
export function listHotFunctions({ startTime, nodes, samples, timeDeltas }: Profile, fromMs: number): string[] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, describeFrame(callFrame)]))
  const times = new Map<string, number>()
  let at = startTime
  let total = 0
  for (const [index, id] of samples.entries()) {
    const delta = timeDeltas[index] ?? 0
    at += delta
    const name = names.get(id) ?? ''
    if (at / 1000 < fromMs || idle.has(name)) continue
    times.set(name, (times.get(name) ?? 0) + delta)
    total += delta
  }
  const hottest = [...times].sort(([, a], [, b]) => b - a).slice(0, 10)
  return hottest.map(([name, time]) => `${((100 * time) / total).toFixed(1).padStart(5)} %  ${name}`)
}

function describeFrame({ functionName, url, lineNumber }: CallFrame): string {
  const file = url.replace(/^.*\/(?=(?:apps|packages|node_modules)\/)/, '').replace('node_modules/', '')
  return url ? `${functionName || '(anonymous)'} ${file}:${lineNumber + 1}` : functionName || '(native)'
}
