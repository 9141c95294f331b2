import type { Load } from './load/load.ts'
import type { Metric } from './metrics.ts'

export const variants = ['pooled', 'floor', 'ai-sdk', 'held', 'blocking', 'direct'] as const
export type Variant = (typeof variants)[number]

/** A metric of `pooled`, or its ratio to another variant's, that shall be at most this, or at least. */
export type Goal = { metric: Metric; over?: Variant; atMost?: number; atLeast?: number }

export type Scenario = {
  name: string
  /** What it asks, in a sentence. */
  title: string
  variants: Variant[]
  load: Omit<Load, 'url'>
  /** Instead of chats: reads of a stored conversation of ten messages, or bare connections to the database. */
  subject?: 'conversation' | 'connections'
  /** How long a server works before it is measured; by default `shortWarmUp`. */
  warmUpSeconds?: number
  /** Over the defaults of each server's environment. */
  env?: Record<string, string>
  goals: Goal[]
  /** Beside the load the largest inputs are sent, and the turns of the event loop are measured. */
  sendsLargest?: true
  /** Runs only when it is named. */
  isExtra?: true
  /** What is smaller under `--quick`; scenarios without are left out there. */
  quick?: { variants: Variant[]; load: Partial<Load> }
}

const chats = (load: Partial<Load>): Omit<Load, 'url'> => ({
  tokens: 100,
  intervalMs: 20,
  clients: 200,
  rampMs: 2000,
  seconds: 8,
  ...load,
})

export const shortWarmUp = 0.8 // seconds: connections are open, and each path has run

/** Where CPU is compared: V8 compiles for seconds, and longer what has more code, which is no cost of a token. */
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
  title: `${perSecond} chats a second arrive, whatever happens to the others: who waits for the first token?`,
  variants: ['floor', 'pooled', 'held', 'blocking'],
  load: chats({ tokens: 25, perSecond, seconds: 5, patienceMs: 2000 }),
  goals: noError,
})

/** For infra/README.md: what a core of the API carries, and whether more processes carry more. */
const scale = (processes: number): Scenario => ({
  name: `scale-${processes}`,
  title: `600 answers at once, a token every 60 ms, from API processes: ${processes}`,
  variants: ['pooled'],
  load: chats({ intervalMs: 60, clients: 600, rampMs: 5000, seconds: 16 }),
  env: { WEB_CONCURRENCY: `${processes}` },
  goals: nothingHeld,
  isExtra: true,
})

/** For people who watch the page: as fast as models speak, and long enough to see. */
export const liveScenario: Scenario = {
  name: 'live',
  title: '500 people ask, for half a minute: how many connections to Postgres are busy?',
  variants: ['pooled'],
  load: chats({ tokens: 500, intervalMs: 50, clients: 500, rampMs: 6000, seconds: 20 }),
  goals: nothingHeld,
}

/** Every variant of a scenario runs the same load on servers of its own, in turn with the others. */
export const scenarios: Scenario[] = [
  {
    name: 'streams',
    title: 'More and more people ask: how many connections to Postgres are busy, and who gets an answer?',
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
    title: '200 answers at once, a token every 20 ms: what does a token cost?',
    variants: ['floor', 'pooled', 'ai-sdk'],
    load: chats({}),
    goals: nearFloor,
    quick: { variants: ['floor', 'pooled'], load: { rampMs: 1500, seconds: 3.5 } },
  },
  {
    ...compiled,
    name: 'tokens-1000',
    title: '1,000 answers at once, a token every 20 ms: more than two cores can pace. What does a token cost then?',
    variants: ['floor', 'pooled', 'ai-sdk'],
    load: chats({ clients: 1000, rampMs: 4000, seconds: 10 }),
    goals: nearFloor,
  },
  {
    ...compiled,
    name: 'chat',
    title: 'Answers of one token: what does a chat cost without its tokens?',
    variants: ['floor', 'pooled', 'ai-sdk'],
    load: chats({ tokens: 1, intervalMs: 0, clients: 20, rampMs: 0 }),
    goals: [
      ...noError,
      { metric: 'cpuPerChat', over: 'floor', atMost: 1.5 },
      { metric: 'databasePerChat', over: 'floor', atMost: 1.15 },
    ],
  },
  {
    ...compiled,
    name: 'conversation',
    title: 'A conversation of ten messages is read: what does a request cost?',
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
    title: '1,000 answers at once, a token every 60 ms, as people read them, on all that this machine has',
    variants: ['pooled'],
    load: chats({ intervalMs: 60, clients: 1000, rampMs: 6000, seconds: 18 }),
    env: { WEB_CONCURRENCY: '2' },
    goals: [...nothingHeld, { metric: 'firstTokenP50', atMost: 300 }, { metric: 'eventLoopP99', atMost: 50 }],
  },
  {
    name: 'connections',
    title: '1,200 connections, as of 60 processes with pools of 20, each with a query a second',
    variants: ['pooled', 'direct'],
    subject: 'connections',
    load: chats({ tokens: 0, intervalMs: 0, clients: 1200, thinkMs: 1000, rampMs: 12_000, seconds: 17 }),
    goals: [...nothingHeld, { metric: 'clients', atLeast: 1000 }],
  },
  {
    name: 'processes',
    title: '400 people ask two processes with pools of 100 at once: through PgBouncer, and straight to Postgres',
    variants: ['pooled', 'direct'],
    load: chats({ clients: 400, rampMs: 0, seconds: 4 }),
    env: { WEB_CONCURRENCY: '2', DATABASE_POOL_SIZE: '100' },
    goals: nothingHeld,
  },
  {
    name: 'overload',
    title: 'Five times what two cores carry arrives, where 500 answers at once are allowed: who is sent away?',
    variants: ['pooled'],
    load: chats({ intervalMs: 60, perSecond: 415, seconds: 12 }), // 83 a second leave as many as come
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
  scale(1),
  scale(2),
  scale(4),
  {
    name: 'three-thousand',
    title: '3,000 answers at once, five tokens a second, on all that this machine has',
    variants: ['pooled'],
    load: chats({ intervalMs: 200, clients: 3000, rampMs: 15_000, seconds: 45 }),
    env: { WEB_CONCURRENCY: '2' },
    goals: [...nothingHeld, { metric: 'lateP99', atMost: 50 }],
    isExtra: true,
  },
  {
    name: 'ten-thousand',
    title: '10,000 answers at once, a token every second, for a minute, on all that this machine has',
    variants: ['pooled'],
    // As many come a second as leave one from then on: 100.
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
