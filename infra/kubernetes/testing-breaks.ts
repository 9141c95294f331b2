import type { Manifests } from './objects.ts'

function find<T extends { metadata: { name: string } }>(objects: T[], name: string): T {
  const found = objects.find(({ metadata }) => metadata.name.startsWith(name))
  if (!found) throw new Error(`there is no ${name}`)
  return found
}

function podOf({ workloads }: Manifests, name: string) {
  const { template } = find(workloads, name).spec
  const [container] = template.spec.containers
  if (!container) throw new Error(`${name} has no container`)
  return { template, spec: template.spec, container }
}

const scaleDownOf = ({ scalers }: Manifests, name: string) =>
  find(scalers, name).spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown
const settingsOf = ({ settings }: Manifests) => find(settings, 'settings').data
const annotationsOf = ({ ingresses }: Manifests) => find(ingresses, 'api').metadata.annotations
const queryOf = ({ scalers }: Manifests, name: string) => find(scalers, name).spec.triggers[0]?.metadata ?? {}
export const set = (object: object, values: object) => void Object.assign(object, values)

type Break = (manifests: Manifests) => void

/** Ways to break each rule, in the overlay `production` or another one. */
export const breaks: Record<string, Break[] | { overlay: string; by: Break[] }> = {
  'a pod has time to leave, drain and close before it is killed': [
    (m) => set(podOf(m, 'api').spec, { terminationGracePeriodSeconds: 150 }),
    (m) => set(settingsOf(m), { DRAIN_TIMEOUT_MS: '600000' }),
    (m) => set(podOf(m, 'worker').spec, { terminationGracePeriodSeconds: 20 }),
  ],
  'a pod that gets traffic waits before SIGTERM until it gets none': [
    (m) => set(podOf(m, 'api').container, { lifecycle: { preStop: { sleep: { seconds: 5 } } } }),
    (m) => set(podOf(m, 'api').container, { lifecycle: undefined }),
  ],
  'a rollout adds a pod before it removes one': [
    (m) => set(find(m.workloads, 'api').spec, { strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } } }),
    (m) => set(find(m.workloads, 'worker').spec, { strategy: undefined }),
    (m) => set(find(m.poolers, 'pooler').spec.deploymentStrategy.rollingUpdate, { maxUnavailable: '25%' }),
  ],
  'a drained node takes one replica at a time': [
    (m) => set(m, { budgets: [] }),
    (m) => set(find(m.budgets, 'pooler').spec, { maxUnavailable: 2 }),
    (m) => set(find(m.budgets, 'api').spec, { selector: { matchLabels: { role: 'app' }, matchExpressions: [] } }),
  ],
  'only the autoscaler decides how many replicas an autoscaled Deployment has': [
    (m) => set(find(m.workloads, 'api').spec, { replicas: 3 }),
    (m) => set(find(m.scalers, 'api').spec.scaleTargetRef, { name: 'web' }),
  ],
  'the autoscaler removes one pod at a time, after the last has drained': [
    (m) => set(scaleDownOf(m, 'api').policies[0] ?? {}, { periodSeconds: 60 }),
    (m) => set(scaleDownOf(m, 'api').policies[0] ?? {}, { type: 'Percent', value: 50 }),
    (m) => set(scaleDownOf(m, 'worker'), { stabilizationWindowSeconds: 0 }),
  ],
  'the API keeps replicas for a lost node': [(m) => set(find(m.scalers, 'api').spec, { minReplicaCount: 1 })],
  'the migration runs as a Job that connects to Postgres directly': [
    (m) => set(podOf(m, 'migrate').container.env[1] ?? {}, { value: 'postgres://sluice@pooler:5432/sluice' }),
    (m) => set(m, { workloads: m.workloads.filter(({ kind }) => kind !== 'Job') }),
  ],
  'no container runs as root, writes to its file system or gains privileges': [
    (m) => set(podOf(m, 'api').spec.securityContext, { runAsNonRoot: false }),
    (m) => set(podOf(m, 'worker').spec.securityContext, { runAsUser: undefined }),
    (m) => set(podOf(m, 'migrate').container, { securityContext: {} }),
    (m) => set(podOf(m, 'api').container.securityContext, { capabilities: { drop: [] } }),
    (m) => podOf(m, 'api').spec.initContainers.push({ ...podOf(m, 'api').container, securityContext: {} }),
  ],
  'no pod mounts a token of the cluster': [
    (m) => set(podOf(m, 'worker').spec, { automountServiceAccountToken: undefined }),
  ],
  'each container has requests and limits of CPU and memory': [
    (m) => set(podOf(m, 'api').container.resources, { limits: {} }),
    (m) => set(podOf(m, 'api').container.resources.limits, { memory: '256Mi' }),
    (m) =>
      set(find(m.poolers, 'pooler').spec.template.spec.containers[0] ?? {}, {
        resources: { requests: {}, limits: {} },
      }),
  ],
  'programs can write to /tmp': [(m) => set(podOf(m, 'worker').container, { volumeMounts: [] })],
  'each image is published by the release workflow, or another project’s with a version': [
    (m) => set(podOf(m, 'api').container, { image: 'ghcr.io/owner/repository-web:v0.2.0' }),
    (m) => set(podOf(m, 'api').container, { image: 'ghcr.io/owner/repository:latest' }),
    (m) => set(podOf(m, 'api').container, { image: 'api' }),
  ],
  'each program’s settings are valid and complete': [
    (m) => set(podOf(m, 'api').container, { env: [] }),
    (m) => set(podOf(m, 'migrate').container, { env: [] }),
    (m) => set(settingsOf(m), { AUTH: 'off' }), // the image sets NODE_ENV=production
    (m) => set(settingsOf(m), { DRAIN_TIMEOUT_MS: '30s' }),
    (m) => set(settingsOf(m), { POOLER_SSLMODE: 'sometimes' }),
  ],
  'each variable is one of .env.example, or part of another': [(m) => set(settingsOf(m), { DRAIN_TIMEOUT: '30000' })],
  'secrets are references': [
    (m) => set(settingsOf(m), { OPENAI_API_KEY: 'sk-1' }),
    (m) => set(podOf(m, 'api').container.env[1] ?? {}, { value: 'postgres://sluice:sluice@pooler:5432/sluice' }),
    (m) => m.raw.push({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'models' } }),
  ],
  'probes use paths of the API, and liveness does not depend on the database': [
    (m) => set(podOf(m, 'api').container, { livenessProbe: { httpGet: { path: '/health/ready', port: 'http' } } }),
    (m) => set(podOf(m, 'api').container, { readinessProbe: { httpGet: { path: '/healthz', port: 'http' } } }),
    (m) => set(podOf(m, 'worker').container, { livenessProbe: undefined }),
  ],
  'the pooler is in transaction mode and leads to the primary': [
    (m) => set(find(m.poolers, 'pooler').spec.pgbouncer, { poolMode: 'session' }),
    (m) => set(find(m.poolers, 'pooler').spec, { type: 'ro' }),
  ],
  'the pooler’s parameters are those of pgbouncer.ini.template': [
    (m) => set(find(m.poolers, 'pooler').spec.pgbouncer.parameters, { max_prepared_statements: '0' }),
    (m) => set(find(m.poolers, 'pooler').spec.pgbouncer.parameters, { query_wait_timeout: undefined }),
    (m) => set(find(m.poolers, 'pooler').spec.pgbouncer.parameters, { server_lifetime: '60' }),
  ],
  'the pools of all poolers fit into max_connections, even while one is replaced': [
    (m) => set(find(m.poolers, 'pooler').spec, { instances: 3 }),
    (m) => set(find(m.clusters, 'postgres').spec.postgresql.parameters, { max_connections: '100' }),
  ],
  'the clients of all replicas fit into the poolers, even if one fails during a rollout': [
    (m) => set(find(m.scalers, 'api').spec, { maxReplicaCount: 500 }),
    (m) => set(settingsOf(m), { DATABASE_POOL_SIZE: '200' }),
  ],
  'Postgres has the settings of docker-compose.yml, and its own number of connections': [
    (m) => set(find(m.clusters, 'postgres').spec.postgresql.parameters, { log_error_verbosity: 'default' }),
  ],
  'the database has pgvector and belongs to the role of the URLs': [
    (m) => set(find(m.clusters, 'postgres').spec.bootstrap.initdb ?? {}, { postInitApplicationSQL: [] }),
    (m) => set(find(m.clusters, 'postgres').spec.bootstrap.initdb ?? {}, { owner: 'app' }),
  ],
  'a restored cluster reads one archive and writes another, in the same store': {
    overlay: 'restored',
    by: [
      (m) => set(find(m.clusters, 'postgres').spec, { externalClusters: [] }),
      (m) => set(find(m.clusters, 'postgres').spec.plugins[0]?.parameters ?? {}, { serverName: 'postgres' }),
    ],
  },
  'a failover loses no stored message': [
    (m) => set(find(m.clusters, 'postgres').spec.postgresql, { synchronous: undefined }),
    (m) => set(find(m.clusters, 'postgres').spec, { instances: 1 }),
  ],
  'a replicated cluster is backed up': [
    (m) => set(find(m.clusters, 'postgres').spec, { plugins: [] }),
    (m) => set(m, { raw: m.raw.filter(({ kind }) => kind !== 'ScheduledBackup') }),
  ],
  'programs connect to a pooler and to Postgres that exist': [
    (m) => set(find(m.poolers, 'pooler').metadata, { name: 'pgbouncer' }),
    (m) => set(settingsOf(m), { POSTGRES_HOST: 'db-rw' }),
  ],
  'services and routes lead to ports that exist': [
    (m) => set(find(m.services, 'api').spec, { selector: { role: 'app' } }),
    (m) => set(find(m.services, 'api').spec.ports[0] ?? {}, { targetPort: 'web' }),
    (m) => set(find(m.services, 'api').spec.ports[0] ?? {}, { port: 3000 }),
  ],
  'no proxy buffers a stream or ends it before ANSWER_TIMEOUT_MS': [
    (m) => set(find(m.routes, 'api').spec.rules[0] ?? {}, { timeouts: { request: '30s', backendRequest: '0s' } }),
    (m) => set(find(m.routes, 'api').spec.rules[0] ?? {}, { timeouts: undefined }),
  ],
  'an ingress accepts the largest upload': {
    overlay: 'external',
    by: [
      (m) => set(settingsOf(m), { MAX_UPLOAD_MB: '100' }),
      (m) => set(annotationsOf(m), { 'nginx.org/client-max-body-size': '1m' }),
    ],
  },
  'programs reach the pooler, the migration reaches Postgres, and nothing else is open between pods': [
    (m) => set(m, { policies: [] }),
    (m) => set(m, { policies: m.policies.filter(({ metadata }) => metadata.name !== 'to-pooler') }),
    (m) => set(find(m.policies, 'migrate-to-postgres').spec.podSelector, { matchLabels: { role: 'api' } }),
    (m) => set(find(m.policies, 'to-pooler-only').spec.ingress[0] ?? {}, { from: [] }),
  ],
  'programs reach the internet on port 443 only, and no private network': [
    (m) => set(find(m.policies, 'programs').spec.egress[1] ?? {}, { ports: [] }),
    (m) =>
      set(find(m.policies, 'programs').spec.egress[1] ?? {}, { to: [{ ipBlock: { cidr: '0.0.0.0/0', except: [] } }] }),
  ],
  'everything is in one namespace, which only admits restricted pods': [
    (m) => set(find(m.raw, 'pooler').metadata, { namespace: 'default' }),
    (m) => set(m, { raw: m.raw.filter(({ kind }) => kind !== 'Namespace') }),
  ],
  'alerts and the autoscaler use metrics that exist': [
    (m) => set(queryOf(m, 'api'), { query: 'sum(sluice_streams{namespace="chat"})' }),
    (m) => set(find(m.alerts, 'api').spec.groups[0]?.rules[0] ?? {}, { expr: 'sluice_up == 0' }),
    (m) => set(find(m.alerts, 'pooler').spec.groups[0]?.rules[0] ?? {}, { expr: 'cnpg_pgbouncer_waiting > 0' }),
  ],
  'the autoscaler measures this namespace, and reads the shared queue once': [
    (m) => set(queryOf(m, 'api'), { query: 'sum(sluice_open_streams)' }),
    (m) => set(queryOf(m, 'worker'), { query: 'sum(sluice_queue_jobs{namespace="chat"})' }),
  ],
  'an autoscaler without data changes nothing': [(m) => set(queryOf(m, 'worker'), { ignoreNullValues: undefined })],
  'monitors select pods and their ports': [
    (m) => set(find(m.monitors, 'api').spec.selector, { matchLabels: { role: 'web' } }),
    (m) => set(find(m.monitors, 'api').spec.podMetricsEndpoints[0] ?? {}, { port: 'metrics' }),
    (m) => set(find(m.monitors, 'postgres').spec.selector, { matchLabels: { 'cnpg.io/cluster': 'db' } }),
  ],
  'the job of the rules is the label of the API’s pods': [
    (m) => set(find(m.monitors, 'api').spec, { jobLabel: undefined }),
  ],
}
