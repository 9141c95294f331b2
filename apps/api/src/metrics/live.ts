import type { Registry } from '@prometheus-io/client'
import { repeat } from '../repeat.ts'
import type { readPoolerState } from './pooler.ts'

const intervalMs = 1000 // people see a change within a second, and a reading takes a few ms

export type LiveSample = Awaited<ReturnType<ReturnType<typeof createSampler>>>

/**
 * Creates the live view of the current load. Metrics are read once per second for all viewers, and not at all without
 * viewers.
 */
export function createLive(readSum: () => Promise<Registry>, readPools: () => ReturnType<typeof readPoolerState>) {
  const viewers = new Set<(sample: LiveSample) => void>()
  const read = createSampler(readSum, readPools)
  let stop: (() => void) | undefined

  const publish = async () => {
    const sample = await read()
    for (const show of viewers) show(sample)
  }

  return {
    read,
    /** Calls `show` with each sample until the returned function is called. */
    watch: (show: (sample: LiveSample) => void): (() => void) => {
      viewers.add(show)
      stop ??= repeat(intervalMs, publish, () => {}) // a failed reading skips one sample
      return () => {
        viewers.delete(show)
        if (viewers.size > 0) return
        stop?.()
        stop = undefined
      }
    },
  }
}

/** Returns a function that reads a sample: sums over all processes, and null for missing PgBouncer data. */
function createSampler(readSum: () => Promise<Registry>, readPools: () => ReturnType<typeof readPoolerState>) {
  return async () => {
    const [sum, pools] = await Promise.all([readSum(), readPools()])
    const report = await sum.getMetricsAsJSON()
    const find = (name: string) => report.find((metric) => metric.name === name)?.values[0]?.value ?? 0
    return {
      at: new Date().toISOString(),
      processes: find('sluice_processes'),
      openStreams: find('sluice_open_streams'),
      deltas: find('sluice_answer_deltas_total'),
      eventLoopDelayMs: find('sluice_event_loop_delay_last_second_seconds') * 1000,
      poolerClients: pools ? pools.activeClients + pools.waitingClients : null,
      poolerClientsWaiting: pools?.waitingClients ?? null,
      serversInUse: pools?.activeServers ?? null,
      serversIdle: pools?.idleServers ?? null,
    }
  }
}
