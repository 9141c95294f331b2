import { globSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

type Place = { functionName: string; url: string; lineNumber: number }
type Profile = {
  /** In µs, on the clock that all processes of the machine share. */
  startTime: number
  nodes: { id: number; callFrame: Place }[]
  samples: number[]
  timeDeltas: number[]
}

const idle = new Set(['(idle)', '(program)'])

/** What makes Node write a CPU profile into this folder when it ends. What is there already goes. */
export function startProfile(folder: string): string[] {
  const directory = join(folder, 'profile')
  rmSync(directory, { recursive: true, force: true })
  return ['--cpu-prof', `--cpu-prof-dir=${directory}`]
}

/** The busiest process's profile. Throws when there is none. */
export function readProfile(folder: string): Profile {
  const files = globSync('profile/*.cpuprofile', { cwd: folder }).map((file) => join(folder, file))
  const [largest] = files.sort((a, b) => statSync(b).size - statSync(a).size)
  if (!largest) throw new Error('the API ended without a profile')
  return JSON.parse(readFileSync(largest, 'utf8'))
}

/** The ten functions that took most time themselves since `fromMs`, in percent of the time that was not idle. */
export function listHotFunctions({ startTime, nodes, samples, timeDeltas }: Profile, fromMs: number): string[] {
  const places = new Map(nodes.map(({ id, callFrame }) => [id, describePlace(callFrame)]))
  const times = new Map<string, number>()
  let at = startTime
  let total = 0
  for (const [index, id] of samples.entries()) {
    const delta = timeDeltas[index] ?? 0
    at += delta
    const place = places.get(id) ?? ''
    if (at / 1000 < fromMs || idle.has(place)) continue
    times.set(place, (times.get(place) ?? 0) + delta)
    total += delta
  }
  const hottest = [...times].sort(([, a], [, b]) => b - a).slice(0, 10)
  return hottest.map(([place, time]) => `${((100 * time) / total).toFixed(1).padStart(5)} %  ${place}`)
}

function describePlace({ functionName, url, lineNumber }: Place): string {
  const file = url.replace(/^.*\/(?=(?:apps|packages|node_modules)\/)/, '').replace('node_modules/', '')
  return url ? `${functionName || '(anonymous)'} ${file}:${lineNumber + 1}` : functionName || '(native)'
}
