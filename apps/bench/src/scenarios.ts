import type { Load } from './load/plan.ts'
import type { Metric } from './metrics.ts'

export const variants = ['pooled', 'floor', 'drizzle', 'ai-sdk', 'held', 'blocking', 'direct'] as const
export type Variant = (typeof variants)[number]

/** A limit of a metric of `pooled`, or of its ratio to another variant (`over`). */
export type Goal = { metric: Metric; over?: Variant; atMost?: number; atLeast?: number }

export type Scenario = {
  name: string
  /** What the scenario measures, in one sentence. */
  title: string
  variants: Variant[]
  load: Omit<Load, 'url'>
  /** Instead of chats: reads of a stored conversation of ten messages, searches, or database connections. */
  subject?: 'conversation' | 'search' | 'connections'
  /** The sizes of the corpus to compare, in chunks. Default: one size, `defaultChunks`. */
  sizes?: number[]
  /** Time between samples, for runs with so few requests that sampling would add to their cost. */
  sampleMs?: number
  /** Warm-up time before the measurement. Default: `shortWarmUp`. */
  warmUpSeconds?: number
  /** Overrides the defaults of each server's environment. */
  env?: Record<string, string>
  goals: Goal[]
  /** Also sends the largest inputs, and measures the turns of the event loop. */
  sendsLargest?: true
  /** Runs only if selected with `--only`. */
  isExtra?: true
  /** The smaller version for `--quick`. Scenarios without it are skipped there. */
  quick?: { variants: Variant[]; load: Partial<Load>; warmUpSeconds?: number }
}

export const defaultChunks = 10_000 // about 5,000 pages: enough that searches use the vector index
export const mostFilledByDefault = 10_000 // chunks; filling 100,000 takes several minutes

const chats = (load: Partial<Load>): Omit<Load, 'url'> => ({
  tokens: 100,
  intervalMs: 20,
  clients: 200,
  rampMs: 2000,
  seconds: 8,
  ...load,
})

export const shortWarmUp = 0.8 // seconds: enough to open connections and run each code path

/** For CPU comparisons. V8 compiles for several seconds, longer for more code, which is not a cost per token. */
const compiled = { warmUpSeconds: 6 }

const noError: Goal[] = [{ metric: 'failed', atMost: 0 }]
const nothingHeld: Goal[] = [...noError, { metric: 'idleInTransaction', atMost: 0 }, { metric: 'backends', atMost: 20 }]
const nearFloor: Goal[] = [
  ...nothingHeld,
  { metric: 'cpuPerToken', over: 'floor', atMost: 1.25 },
  { metric: 'cpuPerToken', over: 'ai-sdk', atMost: 0.45 },
]
const arrivals = (perSecond: number): Scenario => ({
  name: `arrivals-${perSecond}`,
  title: `${perSecond} chats per second arrive at a fixed rate. How long is the time to first token?`,
  variants: ['floor', 'pooled', 'held', 'blocking'],
  load: chats({ tokens: 25, perSecond, seconds: 5, patienceMs: 2000 }),
  goals: noError,
})

/** The capacity of one core, and how it scales with processes. For infra/README.md. */
const scale = (processes: number): Scenario => ({
  name: `scale-${processes}`,
  title: `600 concurrent answers, one token every 60 ms. API processes: ${processes}`,
  variants: ['pooled'],
  load: chats({ intervalMs: 60, clients: 600, rampMs: 5000, seconds: 16 }),
  env: { WEB_CONCURRENCY: `${processes}` },
  goals: nothingHeld,
  isExtra: true,
})

/** For viewers of the page: the pace of real models, and long enough to watch. */
export const liveScenario: Scenario = {
  name: 'live',
  title: '500 clients chat for half a minute. How many Postgres connections are busy?',
  variants: ['pooled'],
  load: chats({ tokens: 500, intervalMs: 50, clients: 500, rampMs: 6000, seconds: 20 }),
  goals: nothingHeld,
}

/** All scenarios. The variants of a scenario run the same load on separate servers, one after the other. */
export const scenarios: Scenario[] = [
  {
    name: 'streams',
    title: 'The number of clients grows. How many Postgres connections are busy, and which clients get an answer?',
    variants: ['pooled', 'held'],
    load: chats({ tokens: 300, clients: 200, rampMs: 6000, seconds: 6, patienceMs: 6500 }),
    env: { DATABASE_POOL_SIZE: '20' },
    goals: nothingHeld,
    quick: {
      variants: ['pooled', 'held'],
      load: { tokens: 100, clients: 100, rampMs: 1800, seconds: 1.8, patienceMs: 2400 },
    },
  },
  {
    ...compiled,
    name: 'tokens-200',
    title: '200 concurrent answers, one token every 20 ms. How much CPU per token?',
    variants: ['floor', 'pooled', 'ai-sdk'],
    load: chats({}),
    goals: nearFloor,
    quick: { variants: ['floor', 'pooled'], load: { rampMs: 1500, seconds: 3.5 } },
  },
  {
    ...compiled,
    name: 'tokens-1000',
    title: '1,000 concurrent answers, one token every 20 ms, which saturates two cores. How much CPU per token?',
    variants: ['floor', 'pooled', 'ai-sdk'],
    load: chats({ clients: 1000, rampMs: 4000, seconds: 10 }),
    goals: nearFloor,
  },
  {
    ...compiled,
    name: 'chat',
    title: 'Answers of one token. How much CPU per chat, apart from tokens?',
    variants: ['floor', 'drizzle', 'pooled', 'ai-sdk'],
    load: chats({ tokens: 1, intervalMs: 0, clients: 20, rampMs: 0 }),
    goals: [...noError, { metric: 'cpuPerChat', over: 'drizzle', atMost: 1 }],
    quick: { variants: ['floor', 'drizzle', 'pooled'], load: { seconds: 6 }, warmUpSeconds: 3 },
  },
  {
    ...compiled,
    name: 'two-steps',
    title: 'Answers of one token after a search that the model has called as a tool. How much CPU per chat?',
    variants: ['pooled', 'ai-sdk'],
    load: chats({ tokens: 1, intervalMs: 0, calls: 1, clients: 20, rampMs: 0 }),
    env: { RETRIEVAL: 'tool' },
    goals: [...noError, { metric: 'cpuPerChat', over: 'ai-sdk', atMost: 0.9 }],
  },
  {
    ...compiled,
    name: 'conversation',
    title: 'Reading a conversation of ten messages. How much CPU per request?',
    variants: ['floor', 'pooled'],
    subject: 'conversation',
    load: chats({ clients: 20, rampMs: 0, seconds: 5 }),
    goals: [...noError, { metric: 'cpuPerChat', over: 'floor', atMost: 1.4 }],
  },
  arrivals(20),
  arrivals(60),
  arrivals(120),
  {
    name: 'pace',
    title: '1,000 concurrent answers at reading speed, one token every 60 ms, on all cores',
    variants: ['pooled'],
    load: chats({ intervalMs: 60, clients: 1000, rampMs: 6000, seconds: 18 }),
    env: { WEB_CONCURRENCY: '2' },
    goals: [...nothingHeld, { metric: 'firstTokenP50', atMost: 300 }, { metric: 'eventLoopP99', atMost: 50 }],
  },
  {
    name: 'connections',
    title: '1,200 connections, as from 60 processes with pools of 20, each running one query per second',
    variants: ['pooled', 'direct'],
    subject: 'connections',
    load: chats({ tokens: 0, intervalMs: 0, clients: 1200, thinkMs: 1000, rampMs: 12_000, seconds: 17 }),
    goals: [...nothingHeld, { metric: 'clients', atLeast: 1000 }],
  },
  {
    name: 'processes',
    title: '400 clients at once on two processes with pools of 100, with and without PgBouncer',
    variants: ['pooled', 'direct'],
    load: chats({ clients: 400, rampMs: 0, seconds: 4 }),
    env: { WEB_CONCURRENCY: '2', DATABASE_POOL_SIZE: '100' },
    goals: nothingHeld,
  },
  {
    name: 'overload',
    title: 'Five times the capacity of two cores, with a limit of 500 concurrent answers. How fast are refusals?',
    variants: ['pooled'],
    load: chats({ intervalMs: 60, perSecond: 415, seconds: 12 }), // at 83 per second, as many end as start
    env: { WEB_CONCURRENCY: '2', MAX_STREAMS: '250' },
    goals: [...nothingHeld, { metric: 'refusalP99', atMost: 100 }, { metric: 'lateP99', atMost: 50 }],
  },
  {
    name: 'stalls',
    title:
      '200 answers at once, and beside them the largest documents and conversations: for how long is nothing sent?',
    variants: ['pooled'],
    load: chats({ tokens: 200, intervalMs: 60, rampMs: 4000, seconds: 14 }),
    sendsLargest: true,
    goals: [...noError, { metric: 'longestTurn', atMost: 25 }, { metric: 'lateP99', atMost: 50 }],
  },
  {
    ...compiled,
    name: 'search',
    title: '50 searches per second. How much Postgres CPU per search, and how long does it take?',
    variants: ['pooled'],
    subject: 'search',
    sizes: [1000, 10_000, 100_000],
    sampleMs: 1000,
    load: chats({ tokens: 0, intervalMs: 0, perSecond: 50, clients: 0, rampMs: 0, seconds: 10 }),
    goals: noError,
    quick: { variants: ['pooled'], load: { seconds: 6 }, warmUpSeconds: 3 },
  },
  scale(1),
  scale(2),
  scale(4),
  {
    name: 'three-thousand',
    title: '3,000 concurrent answers, five tokens per second each, on all cores',
    variants: ['pooled'],
    load: chats({ intervalMs: 200, clients: 3000, rampMs: 15_000, seconds: 45 }),
    env: { WEB_CONCURRENCY: '2' },
    goals: [...nothingHeld, { metric: 'lateP99', atMost: 50 }],
    isExtra: true,
  },
  {
    name: 'ten-thousand',
    title: '10,000 concurrent answers, one token per second each, for a minute, on all cores',
    variants: ['pooled'],
    // 100 per second start, which equals the rate at which they end afterwards.
    load: chats({ intervalMs: 1000, clients: 10_000, rampMs: 100_000, seconds: 160 }),
    env: { WEB_CONCURRENCY: '2', MAX_STREAMS: '6000' },
    goals: [
      ...nothingHeld,
      { metric: 'firstTokenP99', atMost: 500 },
      { metric: 'lateP99', atMost: 50 },
      { metric: 'memoryPerStream', atMost: 60 },
    ],
  },
]
