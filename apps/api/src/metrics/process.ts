import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client'
import type { Pool } from '@repo/db'

type Request = { method: string; route: string | undefined; status: number }

// All in seconds. Objectives are bucket edges, because Prometheus interpolates between edges.
const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] // 50 ms: cheap routes; 60 s: streams
const waitBuckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] // 5 s: the wait timeout
const delayBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1, 3] // 50 ms: smooth streaming; 300 ms: see overload.ts
const resolutionMs = 10
const lastSecondMs = 1000

/** Returns a function to call with each ended request. `route` is the URL pattern, because URLs contain user ids. */
export function measureRequests(registry: Registry): (request: Request, durationMs: number) => void {
  const durations = new Histogram({
    name: 'sluice_http_request_duration_seconds',
    help: 'Time from a request to the end of its response or stream. 499: the client disconnected before the response.',
    labelNames: ['method', 'route', 'status'],
    buckets: requestBuckets,
    registers: [registry],
  })
  return ({ method, route = 'none', status }, durationMs) =>
    durations.observe({ method, route, status }, durationMs / 1000)
}

/** Measures the connections of this process to PgBouncer. */
export function measurePool(registry: Registry, pool: Pool): void {
  const registers = [registry]
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: `sluice_pool_${name}`,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  gauge('size', 'Maximum open connections: the sum of DATABASE_POOL_SIZE over all processes.', () => pool.size)
  gauge('in_use', 'Queries and transactions that hold a connection.', pool.countUsed)
  gauge('waiting', 'Queries and transactions waiting for a connection.', pool.countWaiting)
  const waits = new Histogram({
    name: 'sluice_pool_wait_seconds',
    help: 'Waiting time of queries and transactions that found all connections in use.',
    buckets: waitBuckets,
    registers,
  })
  pool.onWait((waitedMs) => waits.observe(waitedMs / 1000))
  // Plain sums, because a histogram would add measurable CPU time to each statement.
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name: `sluice_pool_${name}_total`,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  counter('holds', 'Queries and transactions that have held a connection.', () => pool.countHeld().times)
  const help = 'Total time that connections were held. Its rate is the average number of connections in use.'
  counter('hold_seconds', help, () => pool.countHeld().ms / 1000)
}

/** Measures CPU time, memory and event loop delay. Returns a function that stops the measurement. */
export function measureProcess(registry: Registry): () => void {
  const registers = [registry]
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  new Gauge({
    name: 'sluice_event_loop_delay_seconds',
    help: 'Event loop delay since the last reading, in the most delayed process. Quantile 1 is the maximum.',
    labelNames: ['quantile'],
    aggregator: 'max',
    registers,
    collect() {
      for (const quantile of [0.5, 0.99, 1]) this.set({ quantile }, toDelay(delay.percentile(quantile * 100)))
      delay.reset()
    },
  })
  new Gauge({
    name: 'sluice_processes',
    help: 'API processes included in this reading. Fewer than WEB_CONCURRENCY if one hangs or has crashed.',
    registers,
  }).set(1)
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory. Memory shared by processes is counted in each.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  return () => void delay.disable()
}

/**
 * Measures the longest event loop delay of each second. Unlike `sluice_event_loop_delay_seconds`, a reading does not
 * reset it, so several readers can use it. Returns a function that stops the measurement.
 */
export function measureLastSecond(registry: Registry): () => void {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  const seconds = new Histogram({
    name: 'sluice_event_loop_worst_delay_seconds',
    help: 'The longest event loop delay, observed once per second in each process.',
    buckets: delayBuckets,
    registers: [registry],
  })
  let worst = 0
  delay.enable()
  const timer = setInterval(() => {
    worst = toDelay(delay.max)
    seconds.observe(worst)
    delay.reset()
  }, lastSecondMs).unref()
  new Gauge({
    name: 'sluice_event_loop_delay_last_second_seconds',
    help: 'The longest event loop delay of the last second, in the most delayed process.',
    aggregator: 'max',
    registers: [registry],
    collect() {
      this.set(worst)
    },
  })
  return () => {
    clearInterval(timer)
    delay.disable()
  }
}

/** Returns the delay in seconds. Node measures the time between two timer ticks in ns, which includes the interval. */
function toDelay(tickNs: number): number {
  return Math.max(0, tickNs / 1e6 - resolutionMs) / 1000
}
