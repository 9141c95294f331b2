import type { Manifests, Selector, Workload } from '../objects.ts'

type Pod = Workload['spec']['template']['spec']

/** Returns the variables in the ConfigMap `settings`, whose name ends with a hash. */
export function findSettings(settings: Manifests['settings']): Record<string, string> {
  return settings.find(({ metadata }) => metadata.name.startsWith('settings'))?.data ?? {}
}

/** Returns how many seconds a pod waits before it gets SIGTERM. */
export function preStop({ containers }: Pod): number {
  return Math.max(0, ...containers.map(({ lifecycle }) => lifecycle?.preStop?.sleep?.seconds ?? 0))
}

export function matches({ matchLabels, matchExpressions }: Selector, labels: Record<string, string>): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values }) => operator === 'In' && values.includes(labels[key] ?? ''))
  )
}

export function isBehindService({ spec: { template } }: Workload, services: Manifests['services']): boolean {
  return services.some(({ spec }) =>
    matches({ matchLabels: spec.selector, matchExpressions: [] }, template.metadata.labels),
  )
}

/** Returns the labels of the pods of each program, by name. CloudNativePG sets those of Postgres. */
export function listPods({ workloads, poolers, clusters }: Manifests) {
  return [
    ...workloads.map(({ metadata, spec }) => ({ name: metadata.name, labels: spec.template.metadata.labels })),
    ...poolers.map(({ metadata, spec }) => ({
      name: metadata.name,
      labels: {
        ...spec.template.metadata.labels,
        'cnpg.io/cluster': spec.cluster.name,
        'cnpg.io/poolerName': metadata.name,
        'cnpg.io/podRole': 'pooler',
      },
    })),
    ...clusters.map(({ metadata }) => ({
      name: metadata.name,
      labels: { 'cnpg.io/cluster': metadata.name, 'cnpg.io/podRole': 'instance' },
    })),
  ]
}
