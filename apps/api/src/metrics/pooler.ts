import { Gauge, Registry } from '@prometheus-io/client'
import type { Config } from '@repo/config'
import { readPools } from '@repo/db/inspect'

const deadlineMs = 1000 // PgBouncer responds within a few ms; metrics without it are better than none

type Urls = Pick<Config, 'DATABASE_URL' | 'PGBOUNCER_ADMIN_URL'>

/** Returns PgBouncer's state of the API's database, or undefined without `PGBOUNCER_ADMIN_URL` or on timeout. */
export async function readPoolerState({ DATABASE_URL, PGBOUNCER_ADMIN_URL: url }: Urls) {
  if (!url) return undefined
  const database = decodeURIComponent(new URL(DATABASE_URL).pathname.slice(1))
  return readPools({ url, signal: AbortSignal.timeout(deadlineMs) }, database).catch(() => undefined)
}

/** Returns the same in Prometheus' text format, or an empty string without `PGBOUNCER_ADMIN_URL`. */
export async function readPooler(config: Urls): Promise<string> {
  if (!config.PGBOUNCER_ADMIN_URL) return ''
  const pools = await readPoolerState(config)
  const registry = new Registry()
  const setGauge = (name: string, help: string, value: number) =>
    new Gauge({ name: `sluice_pgbouncer_${name}`, help, registers: [registry] }).set(value)
  setGauge('up', 'Whether its console responded.', pools ? 1 : 0)
  if (pools) {
    setGauge('cl_active', 'Connected clients that are not waiting.', pools.activeClients)
    setGauge('cl_waiting', 'Clients waiting for a Postgres connection.', pools.waitingClients)
    setGauge('sv_active', 'Postgres connections in use.', pools.activeServers)
    setGauge('sv_idle', 'Idle Postgres connections.', pools.idleServers)
    setGauge('pool_size', 'Maximum Postgres connections per role: default_pool_size.', pools.poolSize)
    setGauge('maxwait_seconds', 'Waiting time of the longest waiting client.', pools.longestWaitSeconds)
  }
  return registry.metrics()
}
