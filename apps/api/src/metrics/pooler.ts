import type { Config } from '@repo/config'
import { readPools } from '@repo/db/inspect'
import { Gauge, Registry } from 'prom-client'

const deadlineMs = 1000 // it answers in a few ms; a reading without it is better than none

type Urls = Pick<Config, 'DATABASE_URL' | 'PGBOUNCER_ADMIN_URL'>

/** What PgBouncer says of the API's database; undefined without `PGBOUNCER_ADMIN_URL`, and when it does not answer in time. */
export async function readPoolerState({ DATABASE_URL, PGBOUNCER_ADMIN_URL: url }: Urls) {
  if (!url) return undefined
  const database = decodeURIComponent(new URL(DATABASE_URL).pathname.slice(1))
  return readPools({ url, signal: AbortSignal.timeout(deadlineMs) }, database).catch(() => undefined)
}

/** The same in Prometheus' text format; nothing without `PGBOUNCER_ADMIN_URL`. */
export async function readPooler(config: Urls): Promise<string> {
  if (!config.PGBOUNCER_ADMIN_URL) return ''
  const pools = await readPoolerState(config)
  const registry = new Registry()
  const tell = (name: string, help: string, value: number) =>
    new Gauge({ name: `sluice_pgbouncer_${name}`, help, registers: [registry] }).set(value)
  tell('up', 'Whether its console answered.', pools ? 1 : 0)
  if (pools) {
    tell('cl_active', 'Clients that are connected and do not wait.', pools.activeClients)
    tell('cl_waiting', 'Clients that wait for a connection to Postgres.', pools.waitingClients)
    tell('sv_active', 'Connections to Postgres that are lent to a client.', pools.activeServers)
    tell('sv_idle', 'Connections to Postgres that are free.', pools.idleServers)
    tell('pool_size', 'Connections to Postgres that one role may have at once: default_pool_size.', pools.poolSize)
    tell('maxwait_seconds', 'How long the first of the waiting clients has waited.', pools.longestWaitSeconds)
  }
  return registry.metrics()
}
