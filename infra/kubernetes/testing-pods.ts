import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from '../testing-apis.ts'
import type { Manifests } from './objects.ts'
import { findSettings, preStop } from './rules/find.ts'
import { leaveSeconds } from './rules/rollout.ts'

/** Returns the manifests' numbers for replacing pods, in seconds where they are times. */
export function readNumbers({ workloads, settings, scalers, clusters }: Manifests) {
  const api = workloads.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'api')
  const scaler = scalers.find(({ metadata }) => metadata.name === 'api')
  if (api?.kind !== 'Deployment' || !scaler) throw new Error('the overlay has no Deployment `api` with an autoscaler')
  return {
    replicas: scaler.spec.minReplicaCount,
    rolling: api.spec.strategy?.rollingUpdate,
    minReady: api.spec.minReadySeconds,
    preStop: preStop(api.spec.template.spec),
    drain: Number(findSettings(settings).DRAIN_TIMEOUT_MS) / 1000,
    grace: api.spec.template.spec.terminationGracePeriodSeconds,
    leave: leaveSeconds,
    synchronous: clusters[0]?.spec.postgresql.synchronous?.number ?? 0,
  }
}

/** A process in place of a pod. */
export type Pod = Api & { name: string }
type Gateway = {
  minReadyMs: number
  preStopMs: number
  leaveMs: number
  untilResponded: (url: string) => Promise<void>
}

/**
 * Creates the endpoints of a Service. `start` starts a pod of the current version and resolves when it is ready.
 * Connections go directly to the pods, without retries, as kube-proxy would send them.
 */
export function createEndpoints(start: (name: string) => Promise<Api>, gateway: Gateway) {
  const { minReadyMs, preStopMs, leaveMs, untilResponded } = gateway
  let pods: Pod[] = []
  let [started, turn] = [0, 0]
  const remove = (gone: Pod) => {
    pods = pods.filter((pod) => pod !== gone)
  }
  /** The endpoint disappears as late as a gateway may notice it, and the process gets SIGTERM after `preStop`. */
  const leave = async (pod: Pod): Promise<string> => {
    await Promise.all([sleep(leaveMs).then(() => remove(pod)), sleep(preStopMs)])
    await untilResponded(pod.url) // what the gateway sent last arrives late on a busy machine, where the times are scaled
    return pod.stop()
  }
  const add = async (): Promise<void> => {
    started += 1
    const name = `api-${started}`
    const pod = { name, ...(await start(name)) }
    pods = [...pods, pod]
  }
  return {
    list: () => pods,
    /** Returns the URL of the next pod. */
    pick: (): string => {
      turn += 1
      return pods[turn % pods.length]?.url ?? ''
    },
    add,
    /** Replaces all pods, one more at a time: `maxSurge` 1, `maxUnavailable` 0. Returns how each process ended. */
    replaceAll: async (): Promise<string[]> => {
      const leaving: Promise<string>[] = []
      for (const old of pods) {
        await add()
        await sleep(minReadyMs)
        leaving.push(leave(old))
      }
      return Promise.all(leaving)
    },
    /** Removes half of the pods at once. Returns how each process ended. */
    scaleIn: (): Promise<string[]> => Promise.all(pods.slice(0, pods.length / 2).map(leave)),
    /** Kills half of the pods. Their endpoints disappear late. Returns their URLs. */
    loseNode: async (): Promise<string[]> => {
      const lost = pods.slice(0, pods.length / 2)
      await Promise.all(lost.map((pod) => pod.kill()))
      await sleep(leaveMs)
      lost.forEach(remove)
      return lost.map(({ url }) => url)
    },
  }
}
