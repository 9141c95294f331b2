import type { Rule } from '../rule.ts'
import { findSettings, isBehindService, matches, preStop } from './find.ts'

/** Gateways can take this long to notice that a pod has left. */
export const leaveSeconds = 15
const marginSeconds = 5 // for a busy machine

export const rollout: Record<string, Rule> = {
  'a pod has time to leave, drain and close before it is killed': ({ workloads, settings }, facts) => {
    const drainSeconds = Number(findSettings(settings).DRAIN_TIMEOUT_MS ?? 30_000) / 1000
    const closing: Record<string, number> = { api: drainSeconds + facts.closeSeconds, worker: facts.workerCloseSeconds }
    return workloads.flatMap(({ metadata, spec: { template } }) => {
      const needed = preStop(template.spec) + (closing[metadata.name] ?? 0) + marginSeconds
      const grace = template.spec.terminationGracePeriodSeconds
      return grace < needed
        ? [`${metadata.name}: terminationGracePeriodSeconds is ${grace}, but ${needed} are needed`]
        : []
    })
  },

  'a pod that gets traffic waits before SIGTERM until it gets none': ({ workloads, services }) =>
    workloads
      .filter((workload) => isBehindService(workload, services) && preStop(workload.spec.template.spec) < leaveSeconds)
      .map(({ metadata }) => `${metadata.name}: preStop sleeps for less than ${leaveSeconds} s`),

  'a rollout adds a pod before it removes one': ({ workloads, poolers }) => {
    const deployments = workloads.filter((workload) => workload.kind === 'Deployment')
    const strategies = [
      ...deployments.map(({ metadata, spec }) => ({ ...metadata, rolling: spec.strategy?.rollingUpdate })),
      ...poolers.map(({ metadata, spec }) => ({ ...metadata, rolling: spec.deploymentStrategy.rollingUpdate })),
    ]
    return strategies
      .filter(({ rolling }) => rolling?.maxUnavailable !== 0 || rolling.maxSurge !== 1)
      .map(({ name }) => `${name}: maxSurge must be 1 and maxUnavailable 0`)
  },

  'a drained node takes one replica at a time': ({ workloads, poolers, budgets }) =>
    [...workloads.filter(({ kind }) => kind === 'Deployment'), ...poolers]
      .filter(({ spec: { template } }) => {
        const budget = budgets.find(({ spec }) => matches(spec.selector, template.metadata.labels))
        return budget?.spec.maxUnavailable !== 1
      })
      .map(({ metadata }) => `${metadata.name}: no PodDisruptionBudget with maxUnavailable 1 selects it`),

  'only the autoscaler decides how many replicas an autoscaled Deployment has': ({ workloads, scalers }) =>
    scalers.flatMap(({ spec: { scaleTargetRef } }) => {
      const target = workloads.find(({ metadata }) => metadata.name === scaleTargetRef.name)
      if (target?.kind !== 'Deployment') return [`${scaleTargetRef.name}: there is no such Deployment to scale`]
      return target.spec.replicas === undefined ? [] : [`${scaleTargetRef.name}: \`replicas\` resets it at each deploy`]
    }),

  'the autoscaler removes one pod at a time, after the last has drained': ({ workloads, scalers }) =>
    scalers.flatMap(({ metadata, spec }) => {
      const target = workloads.find(({ metadata }) => metadata.name === spec.scaleTargetRef.name)
      const grace = target?.spec.template.spec.terminationGracePeriodSeconds ?? 0
      const { scaleDown } = spec.advanced.horizontalPodAutoscalerConfig.behavior
      const isSlow = scaleDown.policies.every(
        ({ type, value, periodSeconds }) => type === 'Pods' && value === 1 && periodSeconds >= grace,
      )
      return isSlow && scaleDown.stabilizationWindowSeconds >= 300 ? [] : [`${metadata.name}: scales in too fast`]
    }),

  'the API keeps replicas for a lost node': ({ scalers }) =>
    scalers
      .filter(({ spec }) => spec.scaleTargetRef.name === 'api' && spec.minReplicaCount < 2)
      .map(({ metadata }) => `${metadata.name}: minReplicaCount is below 2`),

  'the migration runs as a Job that connects to Postgres directly': ({ workloads }) => {
    const jobs = workloads.filter(({ kind }) => kind === 'Job').flatMap(({ spec }) => spec.template.spec.containers)
    const urls = jobs.flatMap(({ env }) => env.filter(({ name }) => name === 'DIRECT_DATABASE_URL'))
    if (jobs.length !== 1 || urls.length !== 1) return ['one Job with DIRECT_DATABASE_URL is expected']
    return /@\$\(POSTGRES_HOST\)/.test(urls[0]?.value ?? '') ? [] : ['the migration does not use POSTGRES_HOST']
  },
}
