import { type Connections, watchConnections } from '@repo/measure/connections'
import { startSampler as startSampling } from '@repo/measure/sampler'
import type { Counts } from '../load/tally.ts'
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
export function startSampler({ counts, pids, intervalMs, ...urls }: Watched) {
  const connections = watchConnections(urls)
  let [taken, last]: [number, Sample | undefined] = [0, undefined]

  const takeSample = async (): Promise<Sample> => {
    const isSlow = taken % slowEvery === 0
    const measured = Object.entries(pids).map(([name, pid]) => [name, measureUsage(pid) ?? last?.usage[name]])
    const sample = { ...counts, atMs: performance.now(), usage: Object.fromEntries(measured) }
    const { databaseKb = 0 } = last ?? {}
    last = {
      ...sample,
      ...(await connections.count()),
      databaseKb: isSlow ? measureMemoryKb(pids.postgres) + measureMemoryKb(pids.pgbouncer) : databaseKb,
    }
    taken += 1
    return last
  }
  const sampler = startSampling(takeSample, intervalMs)
  return { stop: () => sampler.stop().finally(connections.close) }
}
