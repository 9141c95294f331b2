import { setTimeout as sleep } from 'node:timers/promises'
import { countJobs, type Database } from '@repo/db'
import { Gauge, Registry } from 'prom-client'

const deadlineMs = 1000 // it takes a few ms; a reading without it is better than none
const labelNames = ['queue']

/**
 * How full the worker's queues are, in Prometheus' text format; nothing while the database does not answer, or while all
 * connections are in use: a reading stands in nobody's way.
 */
export async function readQueues({ db, pool }: Pick<Database, 'db' | 'pool'>): Promise<string> {
  const isBusy = pool.countUsed() >= pool.size
  const queues = isBusy ? [] : await Promise.race([countJobs(db).catch(() => []), sleep(deadlineMs, [])])
  const registry = new Registry()
  const registers = [registry]
  const jobs = new Gauge({
    name: 'sluice_queue_jobs',
    help: 'Jobs by state: waiting for a worker, active in one, failed for good.',
    labelNames: ['queue', 'state'],
    registers,
  })
  const help = 'How long the first of the jobs that are due has waited.'
  const oldest = new Gauge({ name: 'sluice_queue_oldest_seconds', help, labelNames, registers })
  for (const { queue, oldestSeconds, ...states } of queues) {
    for (const state of ['waiting', 'active', 'failed'] as const) jobs.set({ queue, state }, states[state])
    oldest.set({ queue }, oldestSeconds)
  }
  return registry.metrics()
}
