import { setTimeout as sleep } from 'node:timers/promises'
import type { Counts } from '../load/tally.ts'
import { type Connections, watchConnections } from './connections.ts'
import { measureMemoryKb, measureUsage, type Usage } from './processes.ts'

/** All measurements at one moment. */
export type Sample = Connections &
  Counts & {
    atMs: number
    /** By name. Missing without /proc. */
    usage: Record<string, Usage | undefined>
    databaseKb: number
  }

type Watched = Parameters<typeof watchConnections>[0] & {
  /** The counts of the load so far. */
  counts: Counts
  /** Process ids by name. The memory of `postgres` and `pgbouncer` is measured without double counting. */
  pids: Record<string, number>
  /** Between two samples. Default: 100. A sample costs Postgres about a millisecond of CPU. */
  intervalMs?: number
}

const slowEvery = 10 // measuring memory without double counting is too slow for every sample

/** Takes samples until `stop`, which takes the last sample and returns all. */
export function startSampler({ counts, pids, intervalMs = 100, ...urls }: Watched) {
  const connections = watchConnections(urls)
  const samples: Sample[] = []
  const stopping = new AbortController()

  const takeSample = async () => {
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
      await takeSample()
    await takeSample()
    await connections.close()
  }
  const ended = run()
  ended.catch(() => {}) // `stop` reports the error
  return {
    stop: async (): Promise<Sample[]> => {
      stopping.abort()
      await ended
      return samples
    },
  }
}
