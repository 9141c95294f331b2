import { findPoolSize, type Kind } from './simulate.ts'

/** What is measured: CPU of each process in ms, log in kB, and what the pooler counts: statements and ms of use. */
type Resource = 'api' | 'worker' | 'pgbouncer' | 'postgres' | 'walKb' | 'statements' | 'heldMs'
export type Cost = Record<Resource, number>

/** What a system does. `streamSeconds` counts open streams over time, `processSeconds` API processes. */
export type Work = { chats: number; tokens: number; streamSeconds: number; chunks: number; processSeconds: number }
/** A measured run. */
export type Run = { name: string; seconds: number; work: Work; cost: Cost }

/** The cost of one unit of each kind of work. */
export type UnitCosts = Record<keyof Work, Cost>

/** Four runs, each of which adds one kind of work to the ones before. */
export type Runs = { idle: Run; slow: Run; fast: Run; chats: Run; ingestion: Run }

/** A load on one or more API processes: streams at a pace, and what follows from it. */
export type Load = {
  streams: number
  tokensPerSecond: number
  tokensPerAnswer: number
  chunksPerChat: number
  processes: number
}

/** Choices of this page, not measurements. */
export const assumptions = {
  tokensPerSecond: 20, // per stream: faster than people read
  tokensPerAnswer: 300, // so a stream is open for 15 s
  chunksPerChat: 1, // new ones: one document of 10 chunks per 10 chats
  chunksPerStream: 1000, // of its owner in memory: about 500 pages
  utilization: 0.6, // of a core: above it, waiting times grow quickly
  streamsPerProcess: 2000, // the default of MAX_STREAMS
  longestWaitMs: 10, // for a connection, of 99 % of the statements: a tenth of what people notice
  clientsPerProcess: 11, // DATABASE_POOL_SIZE 10, and one for metrics
  clientsPerPooler: 5000, // max_client_conn
  largestPostgres: { cores: 64, memoryGb: 512, walMbPerSecond: 200 }, // one machine that clouds rent out
}

/** Returns what each unit of work costs: each run's cost, without that of the work that earlier runs have measured. */
export function deriveCosts({ idle, slow, fast, chats, ingestion }: Runs): UnitCosts {
  const processSeconds = scale(idle.cost, 1 / idle.work.processSeconds)
  const known = { ...noCosts, processSeconds }
  const [slowly, quickly] = [slow, fast].map((run) => scale(subtract(run, known), 1 / run.work.streamSeconds))
  const pace = ({ work }: Run) => work.tokens / work.streamSeconds
  const tokens = atLeastZero(scale(plus(quickly, scale(slowly, -1)), 1 / (pace(fast) - pace(slow))))
  const streamSeconds = atLeastZero(plus(slowly, scale(tokens, -pace(slow))))
  const streaming = { ...known, tokens, streamSeconds }
  return {
    ...streaming,
    chats: atLeastZero(scale(subtract(chats, streaming), 1 / chats.work.chats)),
    chunks: atLeastZero(scale(subtract(ingestion, streaming), 1 / ingestion.work.chunks)),
  }
}

/** Returns the cost of work, which is the sum over its kinds: amount × cost per unit. */
export function predict(work: Work, units: UnitCosts): Cost {
  const kinds: (keyof Work)[] = ['chats', 'tokens', 'streamSeconds', 'chunks', 'processSeconds']
  return kinds.map((kind) => scale(units[kind], work[kind])).reduce(plus)
}

/** The work of one second under a load. */
export function toWork({ streams, tokensPerSecond, tokensPerAnswer, chunksPerChat, processes }: Load): Work {
  const tokens = streams * tokensPerSecond
  const chats = tokens / tokensPerAnswer
  return { chats, tokens, streamSeconds: streams, chunks: chats * chunksPerChat, processSeconds: processes }
}

/** What a deployment needs, from the cost of a second. Undefined connections: the cores cannot do the work. */
export function planDeployment(streams: number, measured: Pick<Measured, 'units' | 'quantilesMs' | 'memory'>) {
  const { units, memory } = measured
  const one = predict(toWork({ ...assumptions, streams, processes: 0 }), units)
  const { utilization, streamsPerProcess, clientsPerProcess, clientsPerPooler } = assumptions
  const byCpu = one.api / (1000 * utilization - units.processSeconds.api)
  const processes = Math.ceil(Math.max(byCpu, streams / streamsPerProcess))
  const load = { ...assumptions, streams, processes }
  const cost = predict(toWork(load), units)
  const toCores = (cpuMs: number) => cpuMs / 1000 / utilization
  const poolers = Math.ceil(Math.max(toCores(cost.pgbouncer), (processes * clientsPerProcess) / clientsPerPooler))
  const postgresCores = Math.max(1, Math.ceil(toCores(cost.postgres)))
  const kinds = listStatements(load, measured).map((kind) => ({ ...kind, perSecond: kind.perSecond / poolers }))
  const perPooler = findPoolSize(kinds, postgresCores / poolers, assumptions.longestWaitMs)
  const connections = perPooler && perPooler * poolers
  const dataGb = (streams * assumptions.chunksPerStream * memory.chunkKb) / 1e6
  return {
    ...toWork(load),
    cost,
    processes,
    apiMemoryGb: (processes * memory.processKb + streams * memory.streamKb) / 1e6,
    workerCores: Math.ceil(toCores(cost.worker)),
    poolers,
    connections,
    busyConnections: cost.heldMs / 1000,
    postgresCores,
    postgresMemoryGb: dataGb + ((connections ?? 0) * memory.connectionKb) / 1e6,
    walMbPerSecond: cost.walKb / 1000,
  }
}

/** The statements of a load: those of chats, of storing all running answers once per second, and the polling of processes. */
export function listStatements(load: Load, { units, quantilesMs }: Pick<Measured, 'units' | 'quantilesMs'>): Kind[] {
  const { chats, streamSeconds, processSeconds, chunks } = toWork(load)
  const shareOf = ({ postgres, heldMs }: Cost) => (heldMs > 0 ? Math.min(1, postgres / heldMs) : 1)
  const toKind = (cost: Cost, amount: number): Kind => ({
    perSecond: cost.statements * amount,
    meanMs: cost.heldMs / (cost.statements || 1),
    quantilesMs,
    cpuShare: shareOf(cost),
  })
  const storing = units.streamSeconds
  const progress = {
    perSecond: load.processes,
    meanMs: (storing.heldMs * streamSeconds) / load.processes,
    quantilesMs: [1], // one statement per process with a row per stream: always about the same
    cpuShare: shareOf(storing),
  }
  const kinds = [toKind(units.chats, chats), toKind(units.processSeconds, processSeconds), toKind(units.chunks, chunks)]
  return [...kinds, progress].filter(({ perSecond, meanMs }) => perSecond > 0 && meanMs > 0)
}

/** Returns at how many streams each part is full, first the one that is full first. */
export function listLimits({ units, memory }: Pick<Measured, 'units' | 'memory'>) {
  const stream = predict(toWork({ ...assumptions, streams: 1, processes: 0 }), units)
  const { utilization, streamsPerProcess, chunksPerStream, largestPostgres: largest } = assumptions
  const core = 1000 * utilization // ms of CPU per second
  const limits: [string, number, string][] = [
    ['one API process', Math.min((core - units.processSeconds.api) / stream.api, streamsPerProcess), 'add replicas'],
    ['one PgBouncer', core / stream.pgbouncer, 'add PgBouncers and divide the connections among them'],
    ['one worker process', core / stream.worker, 'add workers'],
    [`${largest.cores} cores of Postgres`, (largest.cores * core) / stream.postgres, 'read replicas, then partitions'],
    [`${largest.memoryGb} GB of Postgres`, (largest.memoryGb * 1e6) / (chunksPerStream * memory.chunkKb), 'partitions'],
    [`${largest.walMbPerSecond} MB of WAL per second`, (largest.walMbPerSecond * 1000) / stream.walKb, 'partitions'],
  ]
  return limits.toSorted(([, a], [, b]) => a - b).map(([name, streams, remedy]) => ({ name, streams, remedy }))
}

/** All that `npm run bench -- --capacity` measures. The file `capacity.json`. */
export type Measurements = {
  machine: string
  /** Chunks of the owner that chats search. */
  chunks: number
  runs: Runs
  /** Quantiles of the time for which a statement of a chat uses a connection, while nothing waits. */
  quantilesMs: number[]
  memory: { processKb: number; streamKb: number; connectionKb: number; chunkKb: number }
  /** Real runs, to compare with what the costs predict. */
  checks: { load: Load; run: Run }[]
  pools: PoolCheck[]
}
export type Measured = Measurements & { units: UnitCosts }

/** A real run through a small pool. */
export type PoolCheck = {
  connections: number
  seconds: number
  /** How long a statement used a connection on average, as PgBouncer counted it. */
  meanMs: number
  measured: { meanWaitMs: number; p99Ms: number }
}

const none: Cost = { api: 0, worker: 0, pgbouncer: 0, postgres: 0, walKb: 0, statements: 0, heldMs: 0 }
const noCosts: UnitCosts = { chats: none, tokens: none, streamSeconds: none, chunks: none, processSeconds: none }

function combine(compute: (name: keyof Cost) => number): Cost {
  const [api, worker, pgbouncer, postgres] = [
    compute('api'),
    compute('worker'),
    compute('pgbouncer'),
    compute('postgres'),
  ]
  return {
    api,
    worker,
    pgbouncer,
    postgres,
    walKb: compute('walKb'),
    statements: compute('statements'),
    heldMs: compute('heldMs'),
  }
}
const scale = (cost: Cost = none, by: number) => combine((name) => cost[name] * by)
const plus = (a: Cost = none, b: Cost = none) => combine((name) => a[name] + b[name])
const atLeastZero = (cost: Cost) => combine((name) => Math.max(0, cost[name])) // a difference of nearly equal runs
const subtract = ({ cost, work }: Run, known: UnitCosts) => plus(cost, scale(predict(work, known), -1))
