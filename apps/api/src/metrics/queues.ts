import { setTimeout as sleep } from 'node:timers/promises'
import { Gauge, Registry } from '@prometheus-io/client'
import { countJobs, type Database } from '@repo/db'

const deadlineMs = 1000 // the query takes a few ms; metrics without it are better than none
const labelNames = ['queue']

/**
 * Returns metrics of the worker's queues in Prometheus' text format. They are omitted while the database is not
 * responding or all connections are in use, so that reading metrics delays no request.
 */
export async function readQueues({ db, pool }: Pick<Database, 'db' | 'pool'>): Promise<string> {
  const isBusy = pool.countUsed() >= pool.size
  const queues = isBusy ? [] : await Promise.race([countJobs(db).catch(() => []), sleep(deadlineMs, [])])
  const registry = new Registry()
  const registers = [registry]
  const jobs = new Gauge({
    name: 'sluice_queue_jobs',
    help: 'Jobs by state: waiting for a worker, being processed, or failed permanently.',
    labelNames: ['queue', 'state'],
    registers,
  })
  const help = 'Waiting time of the oldest job that is due.'
  const oldest = new Gauge({ name: 'sluice_queue_oldest_seconds', help, labelNames, registers })
  for (const { queue, oldestSeconds, ...states } of queues) {
    for (const state of ['waiting', 'active', 'failed'] as const) jobs.set({ queue, state }, states[state])
    oldest.set({ queue }, oldestSeconds)
  }
  return registry.metrics()
}
