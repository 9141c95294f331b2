import { readConfig, readWorkerConfig } from '../../../packages/config/src/index.ts'
import type { Manifests } from '../objects.ts'
import type { Rule } from '../rule.ts'
import { findSettings } from './find.ts'

/** What the operator sets itself. */
const operators = 'listen_addr listen_port unix_socket_dir pool_mode auth_type auth_file stats_users admin_users'.split(
  ' ',
)
const reserve = 20 // connections for a migration, its retries, the operator, the metrics and people

export const database: Record<string, Rule> = {
  'the pooler is in transaction mode and leads to the primary': ({ poolers }) =>
    poolers
      .filter(({ spec }) => spec.pgbouncer.poolMode !== 'transaction' || spec.type !== 'rw')
      .map(({ metadata }) => `${metadata.name}: poolMode must be transaction and type rw`),

  'the pooler’s parameters are those of pgbouncer.ini.template': ({ poolers }, { pgbouncer }) =>
    poolers.flatMap(
      ({
        spec: {
          pgbouncer: { parameters },
        },
      }) => {
        const names = Object.keys({ ...pgbouncer, ...parameters }).filter((name) => !operators.includes(name))
        return names
          .filter((name) => parameters[name] !== pgbouncer[name])
          .map((name) => `${name} is ${parameters[name]} instead of ${pgbouncer[name]}`)
      },
    ),

  'the pools of all poolers fit into max_connections, even while one is replaced': (
    { poolers, clusters },
    { pgbouncer },
  ) =>
    clusters.flatMap(({ spec }) => {
      const count = poolers.reduce((sum, pooler) => sum + pooler.spec.instances + 1, 0)
      // At most max_db_connections to the application's database, and a pool of the role that reads passwords.
      const most = count * (Number(pgbouncer.max_db_connections) + Number(pgbouncer.default_pool_size))
      const limit = Number(spec.postgresql.parameters.max_connections)
      return most + reserve > limit ? [`${most} + ${reserve} connections exceed max_connections ${limit}`] : []
    }),

  'the clients of all replicas fit into the poolers, even if one fails during a rollout': (
    manifests,
    { pgbouncer },
  ) => {
    const size = readConfig({ DATABASE_URL: 'postgres://a@b/c', ...numbers(manifests) })
    const { WORKER_CONCURRENCY } = readWorkerConfig({ DATABASE_URL: 'postgres://a@b/c', ...numbers(manifests) })
    const perApi = size.WEB_CONCURRENCY * (size.DATABASE_POOL_SIZE + 1)
    const clients =
      2 * countReplicas(manifests, 'api') * perApi + 2 * countReplicas(manifests, 'worker') * (WORKER_CONCURRENCY + 3)
    const room = Math.max(1, countPoolers(manifests) - 1) * Number(pgbouncer.max_client_conn)
    return clients > room ? [`${clients} clients exceed ${room}`] : []
  },

  'Postgres has the settings of docker-compose.yml, and its own number of connections': ({ clusters }, { postgres }) =>
    clusters.flatMap(({ spec: { postgresql } }) =>
      Object.entries(postgres)
        .filter(([name]) => name !== 'max_connections' && !name.startsWith('archive_')) // which the operator sets
        .filter(([name, value]) => postgresql.parameters[name] !== value)
        .map(([name, value]) => `${name} is ${postgresql.parameters[name]} instead of ${value}`),
    ),

  'the database has pgvector and belongs to the role of the URLs': ({ clusters }) =>
    clusters.flatMap(
      ({
        spec: {
          bootstrap: { initdb, recovery },
        },
      }) => {
        const { database, owner } = initdb ?? recovery ?? {}
        const isComplete = recovery !== undefined || initdb?.postInitApplicationSQL.includes('create extension vector')
        return isComplete && owner === 'sluice' && database === 'sluice' ? [] : ['the database lacks something']
      },
    ),

  'a restored cluster reads one archive and writes another, in the same store': ({ clusters }) =>
    clusters.flatMap(({ spec: { bootstrap, externalClusters, plugins } }) => {
      if (!bootstrap.recovery) return []
      const from = externalClusters.find(({ name }) => name === bootstrap.recovery?.source)?.plugin.parameters
      const to = plugins.find(({ isWALArchiver }) => isWALArchiver)?.parameters
      return from?.serverName && to?.serverName && from.serverName !== to.serverName && from.barmanObjectName
        ? []
        : ['the archive that it starts from would be continued, or is not named']
    }),

  'a failover loses no stored message': ({ clusters }) =>
    clusters
      .filter(({ spec: { instances, postgresql } }) => {
        const number = postgresql.synchronous?.number ?? 0
        return instances > 1 ? number < 1 || number >= instances : number > 0
      })
      .map(({ metadata, spec }) => `${metadata.name}: no synchronous standby suits ${spec.instances} instances`),

  'a replicated cluster is backed up': ({ clusters, raw }) =>
    clusters
      .filter(({ spec }) => spec.instances > 1)
      .filter(
        ({ spec }) => spec.plugins[0]?.isWALArchiver !== true || !raw.some(({ kind }) => kind === 'ScheduledBackup'),
      )
      .map(({ metadata }) => `${metadata.name}: it has no archive of its log, or no base backup`),

  'programs connect to a pooler and to Postgres that exist': (manifests) => {
    const { workloads, poolers, services, clusters, settings } = manifests
    const names = [
      ...poolers.map(({ metadata }) => `${metadata.name}:5432`),
      ...services.flatMap(({ metadata, spec }) => spec.ports.map(({ port }) => `${metadata.name}:${port}`)),
    ]
    const variables = workloads.flatMap(({ spec }) => spec.template.spec.containers.flatMap(({ env }) => env))
    const urls = variables.filter(({ name }) => ['DATABASE_URL', 'PGBOUNCER_ADMIN_URL'].includes(name))
    const wrong = urls.filter(({ value = '' }) => !names.includes(value.match(/@([^/]+)/)?.[1] ?? ''))
    const host = findSettings(settings).POSTGRES_HOST
    return [
      ...(urls.length < 2 ? ['the API and the worker need DATABASE_URL'] : []),
      ...wrong.map(({ value }) => `${value} leads to no pooler`),
      ...clusters.filter(({ metadata }) => host !== `${metadata.name}-rw`).map(() => `POSTGRES_HOST is ${host}`),
    ]
  },
}

const numbers = ({ settings }: Manifests) => {
  const { WEB_CONCURRENCY, DATABASE_POOL_SIZE, WORKER_CONCURRENCY } = findSettings(settings)
  return { WEB_CONCURRENCY, DATABASE_POOL_SIZE, WORKER_CONCURRENCY }
}

function countReplicas({ workloads, scalers }: Manifests, name: string): number {
  const scaler = scalers.find(({ spec }) => spec.scaleTargetRef.name === name)
  const workload = workloads.find(({ metadata }) => metadata.name === name)
  return scaler?.spec.maxReplicaCount ?? (workload?.kind === 'Deployment' ? workload.spec.replicas : undefined) ?? 1
}

function countPoolers({ poolers, workloads }: Manifests): number {
  const own = workloads.find(({ metadata }) => metadata.name === 'pooler')
  return poolers[0]?.spec.instances ?? (own?.kind === 'Deployment' ? own.spec.replicas : undefined) ?? 0
}
