import { ConfigError, readConfig, readMigrationConfig, readWorkerConfig } from '../../../packages/config/src/index.ts'
import type { Manifests, Workload } from '../objects.ts'
import type { Rule } from '../rule.ts'

type Container = Workload['spec']['template']['spec']['containers'][number]

const readers: Record<string, (environment: Record<string, string>) => unknown> = {
  api: readConfig,
  worker: readWorkerConfig,
  migrate: readMigrationConfig,
}

export const pods: Record<string, Rule> = {
  'no container runs as root, writes to its file system or gains privileges': ({ workloads }) =>
    listContainers(workloads).flatMap(({ name, container, pod }) => {
      const security = { ...pod.securityContext, ...container.securityContext }
      const isLocked =
        security.runAsNonRoot === true &&
        (security.runAsUser ?? 0) > 0 && // without a number, the kubelet cannot check the image's user name
        security.readOnlyRootFilesystem === true &&
        security.allowPrivilegeEscalation === false &&
        security.capabilities?.drop.includes('ALL') === true &&
        security.seccompProfile?.type === 'RuntimeDefault'
      return isLocked ? [] : [`${name}: its security context is not restricted`]
    }),

  'no pod mounts a token of the cluster': ({ workloads }) =>
    workloads
      .filter(({ spec }) => spec.template.spec.automountServiceAccountToken !== false)
      .map(({ metadata }) => `${metadata.name}: automountServiceAccountToken must be false`),

  'each container has requests and limits of CPU and memory': (manifests) => {
    const poolers = manifests.poolers.flatMap(({ metadata, spec }) =>
      spec.template.spec.containers.map((container) => ({ name: metadata.name, container })),
    )
    return [...listContainers(manifests.workloads), ...poolers].flatMap(({ name, container: { resources } }) =>
      ['cpu', 'memory'].flatMap((resource) => {
        const [request, limit] = [toNumber(resources.requests[resource]), toNumber(resources.limits[resource])]
        return request > 0 && limit >= request ? [] : [`${name}: its ${resource} has no request, or no limit above it`]
      }),
    )
  },

  'programs can write to /tmp': ({ workloads }) =>
    listContainers(workloads)
      .filter(({ container }) => !container.volumeMounts.some(({ mountPath }) => mountPath === '/tmp'))
      .map(({ name }) => `${name}: no volume is mounted at /tmp`),

  'each image is published by the release workflow, or another project’s with a version': (
    { workloads, poolers },
    facts,
  ) => {
    const images = [
      ...listContainers(workloads).map(({ container }) => container.image),
      ...poolers.flatMap(({ spec }) => spec.template.spec.containers.map(({ image }) => image)),
    ]
    const suffixes = facts.images.map(({ suffix }) => suffix)
    return [...new Set(images)]
      .filter((image) => !/^[\w./-]+:(?!latest)[\w.-]+$/.test(image) || !isKnown(image, suffixes))
      .map((image) => `${image}: nobody publishes it`)
  },

  'each program’s settings are valid and complete': ({ workloads, settings }, facts) =>
    listContainers(workloads).flatMap(({ name, container }) => {
      try {
        readers[name]?.({ ...facts.imageEnvironment, ...resolve(container, settings) })
        return []
      } catch (error) {
        if (error instanceof ConfigError) return [`${name}: ${error.message}`]
        throw error
      }
    }),

  'each variable is one of .env.example, or part of another': ({ workloads, settings }, facts) =>
    listContainers(workloads).flatMap(({ name, container }) => {
      const parts = container.env.flatMap(({ value }) =>
        [...(value ?? '').matchAll(/\$\((\w+)\)/g)].map(([, part]) => part),
      )
      const own = name === 'pooler' ? ['PGPASSWORD'] : []
      const known = [...facts.variables, ...Object.keys(facts.imageEnvironment), ...parts, ...own, 'POOLER_SSLMODE']
      return Object.keys(resolve(container, settings))
        .filter((variable) => !known.includes(variable))
        .map((variable) => `${name}: ${variable} is unknown`)
    }),

  'secrets are references': ({ raw, workloads, settings }) => {
    const literals = [
      ...listContainers(workloads).flatMap(({ container }) => container.env),
      ...settings.flatMap(({ data }) => Object.entries(data).map(([name, value]) => ({ name, value }))),
    ]
    return [
      ...raw
        .filter(({ kind }) => kind === 'Secret')
        .map(({ metadata }) => `${metadata.name}: a Secret is in the repository`),
      ...literals
        .filter(
          ({ name, value = '' }) => /:[^$/][^/@]*@/.test(value) || (/(PASSWORD|KEY|TOKEN)$/.test(name) && value !== ''),
        )
        .map(({ name }) => `${name}: its value is a secret`),
    ]
  },

  'probes use paths of the API, and liveness does not depend on the database': ({ workloads }, { paths }) =>
    listContainers(workloads).flatMap(({ name, container: { startupProbe, livenessProbe, readinessProbe } }) => {
      const probes = [startupProbe, livenessProbe, readinessProbe].flatMap((probe) => probe?.httpGet?.path ?? [])
      const unknown = probes.filter((path) => paths && !paths.includes(path))
      const isMissing = !livenessProbe || !readinessProbe
      const alive = livenessProbe?.httpGet?.path
      return [
        ...unknown.map((path) => `${name}: ${path} is no route`),
        ...(isMissing && name !== 'migrate' ? [`${name}: it needs a liveness and a readiness probe`] : []),
        ...(alive !== undefined && alive !== '/health/live' ? [`${name}: ${alive} fails with the database`] : []),
      ]
    }),
}

function listContainers(workloads: Workload[]) {
  return workloads.flatMap(({ metadata, spec: { template } }) =>
    [...template.spec.containers, ...template.spec.initContainers].map((container) => ({
      name: metadata.name,
      container,
      pod: template.spec,
    })),
  )
}

function isKnown(image: string, suffixes: string[]): boolean {
  const [, own] = /^ghcr\.io\/owner\/repository([^:]*):/.exec(image) ?? []
  return own === undefined ? /^(sluice-api|ghcr\.io\/cloudnative-pg\/pgbouncer):/.test(image) : suffixes.includes(own)
}

const units: Record<string, number> = { m: 1e-3, '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 }

function toNumber(quantity = ''): number {
  const [, number, unit = ''] = /^(\d+)(m|Ki|Mi|Gi)?$/.exec(quantity) ?? []
  return Number(number ?? 0) * (units[unit] ?? 0)
}

/** Returns a container's variables as the kubelet would set them. Each secret has the same value. */
function resolve({ env, envFrom }: Container, settings: Manifests['settings']): Record<string, string> {
  const result: Record<string, string> = {}
  for (const { configMapRef } of envFrom)
    Object.assign(result, settings.find(({ metadata }) => metadata.name === configMapRef?.name)?.data)
  for (const { name, value, valueFrom } of env) {
    if (valueFrom?.secretKeyRef) result[name] = 'secret'
    else result[name] = (value ?? '').replaceAll(/\$\((\w+)\)/g, (text, part) => result[part] ?? text)
  }
  return result
}
