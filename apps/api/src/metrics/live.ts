import type { Registry } from 'prom-client'
import { repeat } from '../repeat.ts'
import type { readPoolerState } from './pooler.ts'

const intervalMs = 1000 // a person sees a change within a second, and a reading costs a few ms

export type LiveSample = Awaited<ReturnType<ReturnType<typeof createSampler>>>

/**
 * How the whole is doing, for people who watch. However many they are, it is read once a second, and while nobody watches
 * it is not read at all.
 */
export function createLive(readSum: () => Promise<Registry>, readPools: () => ReturnType<typeof readPoolerState>) {
  const viewers = new Set<(sample: LiveSample) => void>()
  const read = createSampler(readSum, readPools)
  let stop: (() => void) | undefined

  const tell = async () => {
    const sample = await read()
    for (const show of viewers) show(sample)
  }

  return {
    read,
    /** Shows each sample until the returned function is called. */
    watch: (show: (sample: LiveSample) => void): (() => void) => {
      viewers.add(show)
      stop ??= repeat(intervalMs, tell, () => {}) // a reading that fails is a second without one
      return () => {
        viewers.delete(show)
        if (viewers.size > 0) return
        stop?.()
        stop = undefined
      }
    },
  }
}

/** Sums over the processes of this start; what PgBouncer does not tell is null. */
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
