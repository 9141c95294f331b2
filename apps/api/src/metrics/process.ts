import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Pool } from '@repo/db'
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

type Request = { method: string; route: string | undefined; status: number }

// Seconds, all of them. An objective is read off an edge of its own: between two edges there is only a guess.
const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] // 50 ms: a cheap route; a stream lasts
const waitBuckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] // after 5 it is given up
const delayBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1, 3] // 50 ms: tokens in time; at 300 ms load is shed (limits.ts)
const resolutionMs = 10
const lastSecondMs = 1000

/** Gives what is to be told of each request that has ended. A route is its pattern: a URL holds users' ids. */
export function measureRequests(registry: Registry): (request: Request, durationMs: number) => void {
  const durations = new Histogram({
    name: 'sluice_http_request_duration_seconds',
    help: 'From a request to the end of its response, for a stream to the end of that. 499: the client left before it began.',
    labelNames: ['method', 'route', 'status'],
    buckets: requestBuckets,
    registers: [registry],
  })
  return ({ method, route = 'none', status }, durationMs) =>
    durations.observe({ method, route, status }, durationMs / 1000)
}

/** Connections of this process to PgBouncer. */
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
  gauge('size', 'Connections that may be open: DATABASE_POOL_SIZE of each process.', () => pool.size)
  gauge('in_use', 'Queries and transactions that have a connection.', pool.countUsed)
  gauge('waiting', 'Queries and transactions that wait for one.', pool.countWaiting)
  const waits = new Histogram({
    name: 'sluice_pool_wait_seconds',
    help: 'How long those waited that found every connection busy.',
    buckets: waitBuckets,
    registers,
  })
  pool.onWait((waitedMs) => waits.observe(waitedMs / 1000))
  // Plain sums: a histogram would cost each statement 5 µs.
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
  counter('holds', 'Queries and transactions that have had a connection.', () => pool.countHeld().times)
  const help = 'For how long they had one. Its rate is how many connections are in use on average.'
  counter('hold_seconds', help, () => pool.countHeld().ms / 1000)
}

/** Processor, memory and event loop. Returns a function that ends the measuring. */
export function measureProcess(registry: Registry): () => void {
  const registers = [registry]
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  new Gauge({
    name: 'sluice_event_loop_delay_seconds',
    help: 'How late timers were since the last reading, in the process where they were latest. Quantile 1 is the worst.',
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
    help: 'API processes that took part in this reading; fewer than WEB_CONCURRENCY when one hangs or has died.',
    registers,
  }).set(1)
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Processor time.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory; what processes share is counted in each.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  return () => void delay.disable()
}

/**
 * How late timers were in each whole second. Whoever reads it takes nothing from another reader, as each reading of
 * `sluice_event_loop_delay_seconds` does. Returns a function that ends the measuring.
 */
export function measureLastSecond(registry: Registry): () => void {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  const seconds = new Histogram({
    name: 'sluice_event_loop_worst_delay_seconds',
    help: 'How late timers were at worst, once for each second of each process.',
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
    help: 'How late timers were at worst in the last second, in the process where they were latest.',
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

/** Node records the time between two beats of its clock in ns: the delay is what is more than the beat. */
function toDelay(beatNs: number): number {
  return Math.max(0, beatNs / 1e6 - resolutionMs) / 1000
}
