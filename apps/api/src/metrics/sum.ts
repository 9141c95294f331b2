import cluster, { type Worker } from 'node:cluster'
import { AggregatorRegistry, type Registry } from 'prom-client'
import { z } from 'zod'

// The sum over the processes of one start. The worker that was asked asks the primary, which asks all workers. A worker
// that hangs or dies delays no reading for longer than the deadline, and what it had counted stays in the sum: a total
// that went down would look like a restart, and all of it like new.

const deadlineMs = 1000 // telling takes a few ms

type Report = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

const id = z.number()
const Message = z.discriminatedUnion('type', [
  z.object({ type: z.literal('metrics-wanted'), id }), // to the primary
  z.object({ type: z.literal('metrics-asked'), id }), // to each worker
  z.object({ type: z.literal('metrics-told'), id, report: z.custom<Report>(Array.isArray) }), // to the primary
  z.object({ type: z.literal('metrics-summed'), id, report: z.custom<Report>(Array.isArray) }), // to the worker that wanted them
])
type Message = z.output<typeof Message>

/** In a worker: tells the primary what this process has counted whenever it asks. Gives what reads the sum. */
export function createSumReader(worker: Worker, registry: Registry): () => Promise<Registry> {
  const wanted = new Map<number, (sum: Registry) => void>()
  let readings = 0
  worker.on('message', async (received) => {
    const message = readMessage(received)
    if (message?.type === 'metrics-asked') {
      send(worker, { type: 'metrics-told', id: message.id, report: await registry.getMetricsAsJSON() })
    }
    if (message?.type === 'metrics-summed') {
      wanted.get(message.id)?.(add([message.report]))
      wanted.delete(message.id)
    }
  })
  return () => {
    const { promise, resolve } = Promise.withResolvers<Registry>()
    readings += 1
    wanted.set(readings, resolve)
    send(worker, { type: 'metrics-wanted', id: readings })
    return promise
  }
}

/** In the primary: sums for the workers that want it. */
export function sumMetrics(): void {
  const last = new Map<number, Report>() // by worker
  let ended: Promise<Report> = Promise.resolve([])
  const rounds = new Map<number, Round>()
  let started = 0

  const sum = async (): Promise<Report> => {
    started += 1
    const round = createRound(started)
    rounds.set(round.id, round)
    await round.done
    rounds.delete(round.id)
    const reports = [...last].map(([worker, report]) => (round.isOpen(worker) ? toTotals(report) : report))
    return add([await ended, ...reports]).getMetricsAsJSON()
  }

  cluster.on('message', async (worker, received) => {
    const message = readMessage(received)
    if (message?.type === 'metrics-wanted') {
      send(worker, { type: 'metrics-summed', id: message.id, report: await sum() })
    }
    if (message?.type === 'metrics-told') {
      last.set(worker.id, message.report)
      rounds.get(message.id)?.leave(worker.id)
    }
  })
  cluster.on('exit', ({ id }) => {
    const before = ended
    const totals = toTotals(last.get(id) ?? [])
    last.delete(id)
    ended = before.then((report) => add([report, totals]).getMetricsAsJSON())
    for (const round of rounds.values()) round.leave(id)
  })
}

type Round = ReturnType<typeof createRound>

/** Asks all workers; `done` resolves when each has left the round, by an answer or by its death, or at the deadline. */
function createRound(id: number) {
  const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)
  const open = new Set(workers.map((worker) => worker.id))
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, deadlineMs)
  for (const worker of workers) send(worker, { type: 'metrics-asked', id })
  return {
    id,
    done: promise.finally(() => clearTimeout(timer)),
    isOpen: (worker: number) => open.has(worker),
    leave: (worker: number) => {
      open.delete(worker)
      if (open.size === 0) resolve()
    },
  }
}

/** What only grows: a gauge of a process that does not answer says nothing of now. */
function toTotals(report: Report): Report {
  return report.filter(({ type }) => String(type) !== 'gauge') // a word, though its type says a number
}

function add(reports: Report[]): Registry {
  return AggregatorRegistry.aggregate(reports)
}

function readMessage(received: unknown): Message | undefined {
  return Message.safeParse(received).data
}

/** Whoever is gone by now gets nothing. Without a callback that would be an `error` event, which ends a process. */
function send(worker: Worker, message: Message): void {
  worker.send(message, () => {})
}
