import type { Manifests, Peer } from '../objects.ts'
import type { Rule } from '../rule.ts'
import { findSettings, listPods, matches } from './find.ts'

type Labels = Record<string, string>

/** Which of our pods each of them may connect to. Both its egress and the other's ingress decide. */
const allowed: Labels = { api: 'pooler', worker: 'pooler', migrate: 'postgres' }

export const traffic: Record<string, Rule> = {
  'services and routes lead to ports that exist': ({ workloads, services, routes, ingresses }) => {
    const backends = [
      ...routes.flatMap(({ spec }) => spec.rules.flatMap(({ backendRefs }) => backendRefs)),
      ...ingresses.flatMap(({ spec }) =>
        spec.rules.flatMap(({ http }) => http.paths.map(({ backend }) => backend.service)),
      ),
    ]
    const hasPort = ({ name, port }: (typeof backends)[number]) =>
      services.some(
        ({ metadata, spec }) =>
          metadata.name === name && spec.ports.some((own) => own.port === port || own.name === Object(port).name),
      )
    const broken = services.filter(({ spec }) => {
      const pod = workloads.find(({ spec: { template } }) =>
        matches({ matchLabels: spec.selector, matchExpressions: [] }, template.metadata.labels),
      )
      const ports =
        pod?.spec.template.spec.containers.flatMap((container) => container.ports.map(({ name }) => name)) ?? []
      return !spec.ports.every(({ targetPort }) => ports.includes(String(targetPort)))
    })
    return [
      ...broken.map(({ metadata }) => `${metadata.name}: its selector or port matches no pod`),
      ...backends.filter((backend) => !hasPort(backend)).map(({ name }) => `${name}: a route leads to no port of it`),
    ]
  },

  'no proxy buffers a stream or ends it before ANSWER_TIMEOUT_MS': ({ routes, ingresses, settings }) => {
    const seconds = Number(findSettings(settings).ANSWER_TIMEOUT_MS ?? 600_000) / 1000
    const slow = routes.filter(({ spec }) =>
      spec.rules.some(({ timeouts }) => timeouts?.request !== '0s' || timeouts.backendRequest !== '0s'),
    )
    const wrong = ingresses.filter(({ metadata: { annotations } }) => {
      const value = (name: string) => annotations[name] ?? ''
      const isBuffered =
        value('nginx.ingress.kubernetes.io/proxy-buffering') !== 'off' || value('nginx.org/proxy-buffering') !== 'False'
      const timeouts = ['nginx.ingress.kubernetes.io/proxy-read-timeout', 'nginx.org/proxy-read-timeout'].map((name) =>
        Number.parseInt(value(name), 10),
      )
      return isBuffered || !timeouts.every((timeout) => timeout > seconds)
    })
    return [...slow, ...wrong].map(({ metadata }) => `${metadata.name}: it buffers or cuts streams`)
  },

  'an ingress accepts the largest upload': ({ ingresses, settings }) => {
    const most = Number(findSettings(settings).MAX_UPLOAD_MB ?? 50) + 1
    const names = ['nginx.ingress.kubernetes.io/proxy-body-size', 'nginx.org/client-max-body-size']
    return ingresses
      .filter(({ metadata: { annotations } }) =>
        names.some((name) => Number.parseInt(annotations[name] ?? '0', 10) < most),
      )
      .map(({ metadata }) => `${metadata.name}: it rejects uploads of ${most} MB`)
  },

  'programs reach the pooler, the migration reaches Postgres, and nothing else is open between pods': (manifests) => {
    const pods = listPods(manifests)
    return pods.flatMap((from) =>
      pods
        .filter((to) => to.name !== from.name && from.name in allowed)
        .flatMap((to) => {
          const isOpen = canConnect(manifests, from.labels, to.labels)
          const isExpected = allowed[from.name] === to.name
          return isOpen === isExpected ? [] : [`${from.name} ${isOpen ? 'reaches' : 'does not reach'} ${to.name}`]
        }),
    )
  },

  'programs reach the internet on port 443 only, and no private network': ({ policies }) =>
    policies.flatMap(({ metadata, spec }) =>
      spec.egress
        .filter(({ to }) => to.some(({ ipBlock }) => ipBlock))
        .filter(({ to, ports }) => ports.some(({ port }) => port !== 443) || ports.length === 0 || !isPublic(to))
        .map(() => `${metadata.name}: it opens more than HTTPS to public addresses`),
    ),

  'everything is in one namespace, which only admits restricted pods': ({ raw }) => {
    const namespaces = raw.filter(({ kind }) => kind === 'Namespace')
    const name = namespaces[0]?.metadata.name
    const isRestricted =
      Object(Object(namespaces[0]?.metadata).labels)['pod-security.kubernetes.io/enforce'] === 'restricted'
    return [
      ...(namespaces.length === 1 && isRestricted ? [] : ['one Namespace with enforce: restricted is expected']),
      ...raw
        .filter(({ kind, metadata }) => kind !== 'Namespace' && metadata.namespace !== name)
        .map(({ metadata }) => `${metadata.name} is in another namespace`),
    ]
  },
}

const privateRanges = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16'] // the last has the cloud's metadata

function isPublic(to: Peer[]): boolean {
  return to.every(({ ipBlock }) => privateRanges.every((range) => ipBlock?.except.includes(range)))
}

/** Whether the policies let one pod connect to another. A direction that no policy names is open. */
function canConnect({ policies }: Manifests, from: Labels, to: Labels): boolean {
  const egress = policies.filter(({ spec }) => spec.policyTypes.includes('Egress') && matches(spec.podSelector, from))
  const ingress = policies.filter(({ spec }) => spec.policyTypes.includes('Ingress') && matches(spec.podSelector, to))
  const leaves = egress.length === 0 || egress.some(({ spec }) => spec.egress.some((rule) => admits(rule.to, to)))
  const enters =
    ingress.length === 0 ||
    ingress.some(({ spec }) => spec.ingress.some((rule) => isData(rule.ports) && admits(rule.from, from)))
  return leaves && enters
}

const metricsPorts = [9127, 9187] // of the operator: open to Prometheus in every namespace
const isData = (ports: { port?: string | number | undefined }[]) =>
  !ports.every(({ port }) => metricsPorts.includes(Number(port)))

/** Whether one of the peers is a pod of this namespace with these labels. */
function admits(peers: Peer[], labels: Labels): boolean {
  return peers.some(({ podSelector, namespaceSelector }) => {
    if (namespaceSelector) return Object.keys(namespaceSelector.matchLabels).length === 0 // every namespace, and so this one
    return podSelector !== undefined && matches(podSelector, labels)
  })
}
