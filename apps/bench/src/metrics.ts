import { median } from '@repo/measure/summary'
import type { LoadResult } from './load/tally.ts'
import type { Sample } from './watch/sampler.ts'

const described = {
  completed: { title: 'done', digits: 0 },
  refused: { title: 'refused', digits: 0 },
  failed: { title: 'failed', digits: 0 },
  firstTokenP50: { title: 'first token p50 ms', digits: 0 },
  firstTokenP99: { title: 'first token p99 ms', digits: 0 },
  responseP50: { title: 'response p50 ms', digits: 1 },
  responseP95: { title: 'response p95 ms', digits: 1 },
  lateP50: { title: 'token late p50 ms', digits: 1 },
  lateP99: { title: 'token late p99 ms', digits: 0 },
  refusalP99: { title: 'refused within p99 ms', digits: 0 },
  tokensPerSecond: { title: 'tokens per second', digits: 0 },
  cpuPerToken: { title: 'CPU per token µs', digits: 0, isCost: true },
  requestsPerSecond: { title: 'requests per second', digits: 0 },
  cpuPerChat: { title: 'CPU per request ms: app', digits: 2, isCost: true },
  poolerPerChat: { title: 'CPU per request ms: PgBouncer', digits: 2, isCost: true },
  postgresPerChat: { title: 'CPU per request ms: Postgres', digits: 2, isCost: true },
  totalPerChat: { title: 'CPU per request ms: sum', digits: 2, isCost: true },
  serverCores: { title: 'cores of the API', digits: 2 },
  databaseCores: { title: 'cores of the database', digits: 2 },
  mockLateP99: { title: 'mock late p99 ms', digits: 0 },
  mockPerToken: { title: 'mock CPU per token µs', digits: 0 },
  loadPerToken: { title: 'load CPU per token µs', digits: 0 },
  open: { title: 'concurrent requests', digits: 0 },
  clients: { title: 'pooler clients', digits: 0 },
  waiting: { title: 'waiting clients', digits: 0 },
  backends: { title: 'Postgres connections', digits: 0 },
  busy: { title: 'busy connections', digits: 0 },
  idleInTransaction: { title: 'idle in transaction', digits: 0 },
  memoryPerStream: { title: 'memory per stream kB', digits: 0 },
  serverMemory: { title: 'API memory MB', digits: 0 },
  databaseMemory: { title: 'database memory MB', digits: 0 },
  longestTurn: { title: 'longest turn CPU ms', digits: 0 },
  eventLoopP99: { title: 'event loop p99 ms', digits: 0 },
} satisfies Record<string, Description>

type Description = { title: string; digits: number; isCost?: true }
export type Metric = keyof typeof described
/** The metrics of a run, with title and number of decimals. Costs are compared between variants. */
export const metrics: Record<Metric, Description> = described
export const metricNames = Object.keys(described).filter((name): name is Metric => name in described)
export type Values = Partial<Record<Metric, number | undefined>>

/** Returns the metrics of one run, whose load was steady between `fromMs` and `toMs` after its start. */
export function measure(result: LoadResult, samples: Sample[], fromMs: number, toMs: number): Values {
  const [first, last] = chooseSpan(samples, fromMs, toMs)
  const gain = (read: (sample: Sample) => number) => (first && last ? read(last) - read(first) : 0)
  const cpu = (...names: string[]) =>
    gain(({ usage }) => names.reduce((total, name) => total + (usage[name]?.cpuMs ?? 0), 0))
  const per = (amount: number, count: number) => (amount > 0 && count > 0 ? amount / count : undefined)
  const highest = (read: (sample: Sample) => number | undefined) =>
    samples.length > 0 ? Math.max(...samples.map((sample) => read(sample) ?? 0)) : undefined

  const tokens = gain((sample) => sample.tokens)
  const seconds = gain((sample) => sample.atMs) / 1000
  const requests = gain((sample) => sample.completed)
  const cheap = tokens > 2 * requests ? 0 : requests // the cost of longer answers is that of their tokens
  const memoryKb = highest(({ usage }) => usage.server?.rssKb) ?? 0
  const grownKb = memoryKb - (samples.at(0)?.usage.server?.rssKb ?? 0)
  const open = highest((sample) => sample.open)
  return {
    completed: result.completed,
    refused: result.refused,
    failed: Object.values(result.failures).reduce((total, count) => total + count, 0),
    firstTokenP50: result.firstToken?.p50,
    firstTokenP99: result.firstToken?.p99,
    responseP50: result.response?.p50,
    responseP95: result.response?.p95,
    lateP50: result.late?.p50,
    lateP99: result.late?.p99,
    refusalP99: result.refusal?.p99,
    tokensPerSecond: per(tokens, seconds),
    cpuPerToken: toMicroseconds(per(cpu('server'), tokens)),
    requestsPerSecond: per(requests, seconds),
    cpuPerChat: per(cpu('server'), cheap),
    poolerPerChat: per(cpu('pgbouncer'), cheap),
    postgresPerChat: per(cpu('postgres'), cheap),
    totalPerChat: per(cpu('server', 'pgbouncer', 'postgres'), cheap),
    serverCores: per(cpu('server') / 1000, seconds),
    databaseCores: per(cpu('postgres', 'pgbouncer') / 1000, seconds),
    mockPerToken: toMicroseconds(per(cpu('mock'), tokens)),
    loadPerToken: toMicroseconds(per(cpu('load'), tokens)),
    open,
    clients: highest((sample) => sample.clients),
    waiting: highest((sample) => sample.waiting),
    backends: highest((sample) => sample.backends),
    busy: highest((sample) => sample.busy),
    idleInTransaction: highest((sample) => sample.idleInTransaction),
    memoryPerStream: per(grownKb, open ?? 0),
    serverMemory: memoryKb / 1024,
    databaseMemory: (highest((sample) => sample.databaseKb) ?? 0) / 1024,
  }
}

/** Returns the first and last sample of the steady period, or of the whole run if less than a quarter was done in it. */
function chooseSpan(samples: Sample[], fromMs: number, toMs: number): (Sample | undefined)[] {
  const start = samples.find(({ started }) => started > 0)?.atMs ?? 0 // the load process starts later
  const steady = samples.filter(({ atMs }) => atMs >= start + fromMs && atMs <= start + toMs)
  const countWork = (span: Sample[]) => {
    const [from, to] = [span.at(0), span.at(-1)]
    return from && to ? to.tokens + to.completed - from.tokens - from.completed : 0
  }
  const span = countWork(steady) * 4 >= countWork(samples) ? steady : samples
  return [span.at(0), span.at(-1)]
}

/** Returns the medians of repeated runs. */
export function mergeValues(runs: Values[]): Values {
  return Object.fromEntries(metricNames.map((name) => [name, median(runs.map((values) => values[name]))]))
}

function toMicroseconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms * 1000
}
