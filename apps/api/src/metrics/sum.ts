import cluster, { type Worker } from 'node:cluster'
import { Registry } from '@prometheus-io/client'
import { z } from 'zod'

// Sums metrics over all processes: a worker asks the primary, which collects reports from all workers. A worker that
// hangs delays a reading by at most the deadline. Counters of crashed workers stay in the sum, because Prometheus would
// treat a decreasing counter as a restart.

const deadlineMs = 1000 // reporting takes a few ms

type Report = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

const id = z.number()
const Message = z.discriminatedUnion('type', [
  z.object({ type: z.literal('sum-request'), id }), // worker to primary
  z.object({ type: z.literal('report-request'), id }), // primary to all workers
  z.object({ type: z.literal('report-response'), id, report: z.custom<Report>(Array.isArray) }), // worker to primary
  z.object({ type: z.literal('sum-response'), id, report: z.custom<Report>(Array.isArray) }), // primary to worker
])
type Message = z.output<typeof Message>

/** Makes a worker report its metrics to the primary on request. Returns a function that reads the sum. */
export function createSumReader(worker: Worker, registry: Registry): () => Promise<Registry> {
  const pending = new Map<number, (sum: Registry) => void>()
  let readings = 0
  worker.on('message', async (received) => {
    const message = readMessage(received)
    if (message?.type === 'report-request') {
      send(worker, { type: 'report-response', id: message.id, report: await registry.getMetricsAsJSON() })
    }
    if (message?.type === 'sum-response') {
      pending.get(message.id)?.(add([message.report]))
      pending.delete(message.id)
    }
  })
  return () => {
    const { promise, resolve } = Promise.withResolvers<Registry>()
    readings += 1
    pending.set(readings, resolve)
    send(worker, { type: 'sum-request', id: readings })
    return promise
  }
}

/** Makes the primary answer its workers' requests for the sum. */
export function sumMetrics(): void {
  const lastReports = new Map<number, Report>() // by worker id
  let exitedTotals: Promise<Report> = Promise.resolve([])
  const rounds = new Map<number, Round>()
  let started = 0

  const sum = async (): Promise<Report> => {
    started += 1
    const round = createRound(started)
    rounds.set(round.id, round)
    await round.done
    rounds.delete(round.id)
    const reports = [...lastReports].map(([worker, report]) => (round.isPending(worker) ? toTotals(report) : report))
    return add([await exitedTotals, ...reports]).getMetricsAsJSON()
  }

  cluster.on('message', async (worker, received) => {
    const message = readMessage(received)
    if (message?.type === 'sum-request') {
      send(worker, { type: 'sum-response', id: message.id, report: await sum() })
    }
    if (message?.type === 'report-response') {
      lastReports.set(worker.id, message.report)
      rounds.get(message.id)?.complete(worker.id)
    }
  })
  cluster.on('exit', ({ id }) => {
    const before = exitedTotals
    const totals = toTotals(lastReports.get(id) ?? [])
    lastReports.delete(id)
    exitedTotals = before.then((report) => add([report, totals]).getMetricsAsJSON())
    for (const round of rounds.values()) round.complete(id)
  })
}

type Round = ReturnType<typeof createRound>

/** Requests reports from all workers. `done` resolves when each has reported or exited, or at the deadline. */
function createRound(id: number) {
  const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)
  const pending = new Set(workers.map((worker) => worker.id))
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, deadlineMs)
  for (const worker of workers) send(worker, { type: 'report-request', id })
  return {
    id,
    done: promise.finally(() => clearTimeout(timer)),
    isPending: (worker: number) => pending.has(worker),
    complete: (worker: number) => {
      pending.delete(worker)
      if (pending.size === 0) resolve()
    },
  }
}

/** Returns only the metrics that never decrease. Gauges of a process that does not respond are out of date. */
function toTotals(report: Report): Report {
  return report.filter(({ type }) => type !== 'gauge')
}

function add(reports: Report[]): Registry {
  return Registry.aggregate(reports)
}

function readMessage(received: unknown): Message | undefined {
  return Message.safeParse(received).data
}

/** Sends a message, and ignores an exited worker. Without the callback, that would emit `error` and end the process. */
function send(worker: Worker, message: Message): void {
  worker.send(message, () => {})
}
