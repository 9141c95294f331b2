import { z } from 'zod'

// The fields of manifests that the rules read. Objects keep all others.

const text = z.record(z.string(), z.string())
const count = z.number()
const Metadata = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  labels: text.default({}),
  annotations: text.default({}),
})
const base = { apiVersion: z.string(), metadata: Metadata }

const Probe = z.looseObject({
  httpGet: z.looseObject({ path: z.string(), port: z.union([z.string(), count]) }).optional(),
})
const Security = z.looseObject({
  runAsNonRoot: z.boolean().optional(),
  runAsUser: count.optional(),
  allowPrivilegeEscalation: z.boolean().optional(),
  readOnlyRootFilesystem: z.boolean().optional(),
  capabilities: z.looseObject({ drop: z.array(z.string()).default([]) }).optional(),
  seccompProfile: z.looseObject({ type: z.string() }).optional(),
})
const Variable = z.looseObject({
  name: z.string(),
  value: z.string().optional(),
  valueFrom: z
    .looseObject({ secretKeyRef: z.looseObject({ name: z.string(), key: z.string() }).optional() })
    .optional(),
})
const Source = z.looseObject({
  configMapRef: z.looseObject({ name: z.string() }).optional(),
  secretRef: z.looseObject({ name: z.string() }).optional(),
})
const Container = z.looseObject({
  name: z.string(),
  image: z.string(),
  command: z.array(z.string()).optional(),
  ports: z.array(z.looseObject({ name: z.string().optional(), containerPort: count })).default([]),
  env: z.array(Variable).default([]),
  envFrom: z.array(Source).default([]),
  lifecycle: z
    .looseObject({ preStop: z.looseObject({ sleep: z.looseObject({ seconds: count }).optional() }).optional() })
    .optional(),
  startupProbe: Probe.optional(),
  livenessProbe: Probe.optional(),
  readinessProbe: Probe.optional(),
  resources: z
    .looseObject({ requests: text.default({}), limits: text.default({}) })
    .default({ requests: {}, limits: {} }),
  securityContext: Security.default({}),
  volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: z.string() })).default([]),
})
const Template = z.looseObject({
  metadata: z.looseObject({ labels: text }),
  spec: z.looseObject({
    automountServiceAccountToken: z.boolean().optional(),
    terminationGracePeriodSeconds: count.default(30), // Kubernetes' own default
    securityContext: Security.default({}),
    containers: z.array(Container),
    initContainers: z.array(Container).default([]),
  }),
})
const Rolling = z.looseObject({ maxSurge: z.union([count, z.string()]), maxUnavailable: z.union([count, z.string()]) })
const Selector = z.looseObject({
  matchLabels: text.default({}),
  matchExpressions: z
    .array(z.looseObject({ key: z.string(), operator: z.string(), values: z.array(z.string()) }))
    .default([]),
})
const Peer = z.looseObject({
  podSelector: Selector.optional(),
  namespaceSelector: Selector.optional(),
  ipBlock: z.looseObject({ cidr: z.string(), except: z.array(z.string()).default([]) }).optional(),
})
const Ports = z.array(z.looseObject({ port: z.union([z.string(), count]).optional() })).default([])
const Backend = z.looseObject({ name: z.string(), port: z.union([count, z.looseObject({ name: z.string() })]) })
const Policies = z.array(z.looseObject({ type: z.string(), value: count, periodSeconds: count }))

const Workload = z.discriminatedUnion('kind', [
  z.looseObject({
    ...base,
    kind: z.literal('Deployment'),
    spec: z.looseObject({
      replicas: count.optional(),
      minReadySeconds: count.default(0),
      strategy: z.looseObject({ rollingUpdate: Rolling }).optional(),
      template: Template,
    }),
  }),
  z.looseObject({ ...base, kind: z.literal('Job'), spec: z.looseObject({ template: Template }) }),
])

const Service = z.looseObject({
  ...base,
  spec: z.looseObject({
    selector: text,
    ports: z.array(z.looseObject({ name: z.string(), port: count, targetPort: z.union([z.string(), count]) })),
  }),
})
const Budget = z.looseObject({
  ...base,
  spec: z.looseObject({ maxUnavailable: count, selector: Selector }),
})
const Policy = z.looseObject({
  ...base,
  spec: z.looseObject({
    podSelector: Selector,
    policyTypes: z.array(z.string()),
    egress: z.array(z.looseObject({ to: z.array(Peer).default([]), ports: Ports })).default([]),
    ingress: z.array(z.looseObject({ from: z.array(Peer).default([]), ports: Ports })).default([]),
  }),
})
const ConfigMap = z.looseObject({ ...base, data: text })
const Route = z.looseObject({
  ...base,
  spec: z.looseObject({
    rules: z.array(
      z.looseObject({
        backendRefs: z.array(Backend),
        timeouts: z.looseObject({ request: z.string(), backendRequest: z.string() }).optional(),
      }),
    ),
  }),
})
const Ingress = z.looseObject({
  ...base,
  spec: z.looseObject({
    rules: z.array(
      z.looseObject({
        http: z.looseObject({ paths: z.array(z.looseObject({ backend: z.looseObject({ service: Backend }) })) }),
      }),
    ),
  }),
})
const Plugin = z.looseObject({ name: z.string(), parameters: text.default({}) })
const Cluster = z.looseObject({
  ...base,
  spec: z.looseObject({
    instances: count,
    imageName: z.string(),
    bootstrap: z.looseObject({
      initdb: z
        .looseObject({ database: z.string(), owner: z.string(), postInitApplicationSQL: z.array(z.string()) })
        .optional(),
      recovery: z.looseObject({ source: z.string(), database: z.string(), owner: z.string() }).optional(),
    }),
    externalClusters: z.array(z.looseObject({ name: z.string(), plugin: Plugin })).default([]),
    postgresql: z.looseObject({
      parameters: text,
      synchronous: z.looseObject({ number: count }).optional(),
    }),
    plugins: z.array(Plugin.extend({ isWALArchiver: z.boolean().optional() })).default([]),
  }),
})
const Pooler = z.looseObject({
  ...base,
  spec: z.looseObject({
    cluster: z.looseObject({ name: z.string() }),
    type: z.string(),
    instances: count,
    deploymentStrategy: z.looseObject({ rollingUpdate: Rolling }),
    pgbouncer: z.looseObject({ poolMode: z.string().default('session'), parameters: text }),
    template: z.looseObject({
      metadata: z.looseObject({ labels: text }),
      spec: z.looseObject({ containers: z.array(Container) }),
    }),
  }),
})
const Scaler = z.looseObject({
  ...base,
  spec: z.looseObject({
    scaleTargetRef: z.looseObject({ name: z.string() }),
    minReplicaCount: count,
    maxReplicaCount: count,
    triggers: z.array(z.looseObject({ metadata: text })),
    advanced: z.looseObject({
      horizontalPodAutoscalerConfig: z.looseObject({
        behavior: z.looseObject({
          scaleDown: z.looseObject({ stabilizationWindowSeconds: count, policies: Policies }),
        }),
      }),
    }),
  }),
})
const Alerts = z.looseObject({
  ...base,
  spec: z.looseObject({
    groups: z.array(z.looseObject({ rules: z.array(z.looseObject({ alert: z.string(), expr: z.string() })) })),
  }),
})
const Monitor = z.looseObject({
  ...base,
  spec: z.looseObject({
    selector: Selector,
    jobLabel: z.string().optional(),
    podMetricsEndpoints: z.array(z.looseObject({ port: z.string(), path: z.string().optional() })),
  }),
})

export type Workload = z.output<typeof Workload>
export type Selector = z.output<typeof Selector>
export type Peer = z.output<typeof Peer>
export type Raw = { apiVersion: string; kind: string; metadata: { name: string; namespace?: string } }
/** The objects of an overlay by kind. `raw` contains all of them as they were built. */
export type Manifests = ReturnType<typeof sortObjects>

/** Sorts the objects of an overlay by kind. Throws an error for an object without the fields that the rules need. */
export function sortObjects(raw: Raw[]) {
  const all = <Schema extends z.ZodType>(kinds: string, schema: Schema): z.output<Schema>[] =>
    raw.filter(({ kind }) => kinds.split(' ').includes(kind)).map((object) => schema.parse(object))
  return {
    raw,
    workloads: all('Deployment Job', Workload),
    services: all('Service', Service),
    budgets: all('PodDisruptionBudget', Budget),
    policies: all('NetworkPolicy', Policy),
    settings: all('ConfigMap', ConfigMap),
    routes: all('HTTPRoute', Route),
    ingresses: all('Ingress', Ingress),
    clusters: all('Cluster', Cluster),
    poolers: all('Pooler', Pooler),
    scalers: all('ScaledObject', Scaler),
    alerts: all('PrometheusRule', Alerts),
    monitors: all('PodMonitor', Monitor),
  }
}
