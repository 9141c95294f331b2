import cluster from 'node:cluster'
import type { Database } from '@repo/db'
import { Registry } from 'prom-client'
import type { Config } from '../config.ts'
import { measureAnswers } from './answers.ts'
import { readPooler } from './pooler.ts'
import { measurePool, measureProcess, measureRequests } from './process.ts'
import { readQueues } from './queues.ts'
import { createSumReader } from './sum.ts'

export type Metrics = ReturnType<typeof createMetrics>

/** What is counted here, and the text of `GET /metrics`. No label holds anything of a user's. */
export function createMetrics(
  config: Pick<Config, 'DATABASE_URL' | 'PGBOUNCER_ADMIN_URL'>,
  database: Pick<Database, 'db' | 'pool'>,
) {
  const registry = new Registry()
  const close = measureProcess(registry)
  measurePool(registry, database.pool)
  const readSum = cluster.worker ? createSumReader(cluster.worker, registry) : () => registry.metrics()
  return {
    countAnswer: measureAnswers(registry),
    countRequest: measureRequests(registry),
    contentType: registry.contentType,
    /** In Prometheus' text format, summed over the processes of this start; PgBouncer's and the queues' own numbers are read once. */
    read: async (): Promise<string> =>
      (await Promise.all([readSum(), readPooler(config), readQueues(database)])).join('\n'),
    close,
  }
}
