import cluster from 'node:cluster'
import { Registry } from '@prometheus-io/client'
import type { Config } from '@repo/config'
import type { Database } from '@repo/db'
import type { Llm } from '@repo/llm'
import { measureAnswers } from './answers.ts'
import { measureFallbacks } from './fallbacks.ts'
import { createLive } from './live.ts'
import { readPooler, readPoolerState } from './pooler.ts'
import { measureLastSecond, measurePool, measureProcess, measureRequests } from './process.ts'
import { readQueues } from './queues.ts'
import { measureRefusals } from './refusals.ts'
import { measureRetrieval } from './retrieval.ts'
import { createSumReader } from './sum.ts'
import { measureUsage } from './usage.ts'

export type Metrics = ReturnType<typeof createMetrics>

/** Creates the metrics behind `GET /metrics` and `GET /live`. No label contains user data. */
export function createMetrics(
  config: Pick<Config, 'DATABASE_URL' | 'PGBOUNCER_ADMIN_URL' | 'prices'>,
  database: Pick<Database, 'db' | 'pool'>,
  llm: Pick<Llm, 'chatModels'>,
) {
  const registry = new Registry()
  const ends = [measureProcess(registry), measureLastSecond(registry)]
  measurePool(registry, database.pool)
  const readSum = cluster.worker ? createSumReader(cluster.worker, registry) : async () => registry
  return {
    countAnswer: measureAnswers(registry),
    countFallback: measureFallbacks(registry, llm),
    countRequest: measureRequests(registry),
    countRefusal: measureRefusals(registry),
    countUsage: measureUsage(registry, config.prices),
    countRetrievalFailure: measureRetrieval(registry),
    contentType: registry.contentType,
    /** Returns Prometheus' text format, summed over all processes. PgBouncer and the queues are read once. */
    read: async (): Promise<string> => {
      const [sum, ...others] = await Promise.all([readSum(), readPooler(config), readQueues(database)])
      return [await sum.metrics(), ...others].join('\n')
    },
    live: createLive(readSum, () => readPoolerState(config)),
    close: () => {
      for (const end of ends) end()
    },
  }
}
