import { setTimeout as sleep } from 'node:timers/promises'
import type { Counts } from '../load/tally.ts'
import { type Connections, watchConnections } from './connections.ts'
import { measureMemoryKb, measureUsage, type Usage } from './processes.ts'

/** What was seen at one moment. */
export type Sample = Connections &
  Counts & {
    atMs: number
    /** By name; missing where there is no /proc. */
    usage: Record<string, Usage | undefined>
    databaseKb: number
  }

type Watched = Parameters<typeof watchConnections>[0] & {
  /** What the load has counted so far. */
  counts: Counts
  /** Numbers of processes by name; `postgres` and `pgbouncer` are those whose memory is looked at closely. */
  pids: Record<string, number>
}

const intervalMs = 100
const slowEvery = 10 // memory in which nothing is counted twice costs too much for each time

/** Samples ten times a second until `stop`, which gives the samples; the last one is taken then. */
export function startSampler({ counts, pids, ...urls }: Watched) {
  const connections = watchConnections(urls)
  const samples: Sample[] = []
  const stopping = new AbortController()

  const look = async () => {
    const last = samples.at(-1)
    const isSlow = samples.length % slowEvery === 0
    const measured = Object.entries(pids).map(([name, pid]) => [name, measureUsage(pid) ?? last?.usage[name]])
    const sample = { ...counts, atMs: performance.now(), usage: Object.fromEntries(measured) }
    samples.push({
      ...sample,
      ...(await connections.count()),
      databaseKb: isSlow ? measureMemoryKb(pids.postgres) + measureMemoryKb(pids.pgbouncer) : (last?.databaseKb ?? 0),
    })
  }
  const run = async () => {
    for (; !stopping.signal.aborted; await sleep(intervalMs, undefined, { signal: stopping.signal }).catch(() => {}))
      await look()
    await look()
    await connections.close()
  }
  const ended = run()
  ended.catch(() => {}) // `stop` tells
  return {
    stop: async (): Promise<Sample[]> => {
      stopping.abort()
      await ended
      return samples
    },
  }
}
