import type { Rule } from '../rule.ts'
import { listPods, matches } from './find.ts'

/** Metrics of CloudNativePG's exporters that a rule may use. */
const operators = ['cnpg_pgbouncer_pools_cl_waiting']

export const metrics: Record<string, Rule> = {
  'alerts and the autoscaler use metrics that exist': ({ alerts, scalers }, app) => {
    const queries = [...listQueries(scalers), ...listAlerts(alerts).map(({ expr }) => expr)]
    const used = queries.flatMap((query) =>
      [...query.matchAll(/\b((?:sluice|process|cnpg)_\w+)/g)].map(([, name = '']) => name),
    )
    const known = [...operators, ...(app.metrics ?? used)]
    return used.filter((name) => !known.includes(name)).map((name) => `${name} is not exported`)
  },

  'the autoscaler measures this namespace, and reads the shared queue once': ({ scalers, raw }) => {
    const name = raw.find(({ kind }) => kind === 'Namespace')?.metadata.name
    return listQueries(scalers)
      .filter((query) => !query.includes(`namespace="${name}"`) || /sum\(sluice_(?:queue|pgbouncer)/.test(query))
      .map((query) => `${query} adds up too much`)
  },

  'an autoscaler without data changes nothing': ({ scalers }) =>
    scalers
      .filter(({ spec }) => spec.triggers.some(({ metadata }) => metadata.ignoreNullValues !== 'false'))
      .map(({ metadata }) => `${metadata.name}: it takes missing data for an idle program`),

  'monitors select pods and their ports': (manifests) =>
    manifests.monitors.flatMap(({ metadata, spec }) => {
      const pods = listPods(manifests).filter(({ labels }) => matches(spec.selector, labels))
      const own = manifests.workloads.filter((workload) => pods.some(({ name }) => name === workload.metadata.name))
      const ports = own.flatMap((workload) =>
        workload.spec.template.spec.containers.flatMap((container) => container.ports.map(({ name }) => name)),
      )
      const misses = spec.podMetricsEndpoints.some(({ port }) => own.length > 0 && !ports.includes(port))
      if (manifests.clusters.length === 0 && metadata.name === 'postgres') return [] // a managed Postgres has its own metrics
      return pods.length === 0 || misses ? [`${metadata.name}: it selects no pod with that port`] : []
    }),

  'the job of the rules is the label of the API’s pods': ({ alerts, monitors, workloads }) => {
    const jobs = listAlerts(alerts).flatMap(({ expr }) => [...expr.matchAll(/job="([^"]+)"/g)].map(([, job]) => job))
    const label = monitors.find(({ metadata }) => metadata.name === 'api')?.spec.jobLabel ?? ''
    const own = workloads.find(({ metadata }) => metadata.name === 'api')?.spec.template.metadata.labels[label]
    return jobs.filter((job) => job !== own).map((job) => `no pod has the job ${job}`)
  },
}

function listQueries(scalers: Parameters<Rule>[0]['scalers']): string[] {
  return scalers.flatMap(({ spec }) => spec.triggers.flatMap(({ metadata }) => metadata.query ?? []))
}

function listAlerts(alerts: Parameters<Rule>[0]['alerts']) {
  return alerts.flatMap(({ spec }) => spec.groups.flatMap(({ rules }) => rules))
}
