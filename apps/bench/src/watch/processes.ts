import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The resources used by a process and all its descendants, including exited ones, since their start. */
export type Usage = { cpuMs: number; rssKb: number }

// Linux' units on all common machines: ticks of 10 ms and pages of 4 kB.
const [tickMs, pageKb] = [10, 4]

/** Returns the process ids of a stack's servers by name. */
export function findPids(folder: string, names: string[]): Record<string, number> {
  return Object.fromEntries(names.map((name) => [name, Number.parseInt(read(join(folder, `${name}.pid`)), 10)]))
}

/** Returns the usage of a process. Undefined if it does not exist, or without /proc, which only Linux has. */
export function measureUsage(pid: number): Usage | undefined {
  const stat = read(`/proc/${pid}/stat`)
  if (stat === '') return undefined
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const [userTime = 0, systemTime = 0, endedUserTime = 0, endedSystemTime = 0] = fields.slice(11)
  const own = {
    cpuMs: (userTime + systemTime + endedUserTime + endedSystemTime) * tickMs,
    rssKb: (fields[21] ?? 0) * pageKb,
  }
  return listChildren(pid).reduce((sum, child) => {
    const usage = measureUsage(child)
    return usage ? { cpuMs: sum.cpuMs + usage.cpuMs, rssKb: sum.rssKb + usage.rssKb } : sum
  }, own)
}

/** Returns the memory of a process and its descendants in kB, counting shared memory once. Slow: call it once per second. */
export function measureMemoryKb(pid: number | undefined): number {
  if (pid === undefined) return 0
  const own = Number(/^Pss: +(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0)
  return listChildren(pid).reduce((sum, child) => sum + measureMemoryKb(child), own)
}

/** Returns the average memory in kB that a process' children do not share with others. */
export function measurePrivateKb(pid: number): number {
  const readKb = (child: number) => {
    const lines = read(`/proc/${child}/smaps_rollup`).matchAll(/^Private_\w+: +(\d+)/gm)
    return [...lines].reduce((sum, [, kb]) => sum + Number(kb), 0)
  }
  const children = listChildren(pid)
  return children.reduce((sum, child) => sum + readKb(child), 0) / Math.max(1, children.length)
}

function listChildren(pid: number): number[] {
  return read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number)
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return '' // the process has exited, or this is not Linux
  }
}
