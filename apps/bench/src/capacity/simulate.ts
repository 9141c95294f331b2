import { createRandom } from '@repo/testing/random'

/** A statement: when it arrives at PgBouncer, and the CPU and other time for which it then uses a connection. */
export type Statement = { atMs: number; cpuMs: number; otherMs: number }

/** Statements of one kind: how many per second, how long they take on average, and quantiles of that time. */
export type Kind = { perSecond: number; meanMs: number; quantilesMs: number[]; cpuShare: number }

type Running = { index: number; cpuMs: number; otherMs: number }
type Pool = { connections: number; cores?: number }

/** Statements of all kinds, which arrive independently of each other (Poisson). The same seed returns the same ones. */
export function createStatements(kinds: Kind[], count: number, seed = 1): Statement[] {
  const random = createRandom(seed)
  const perSecond = kinds.reduce((sum, kind) => sum + kind.perSecond, 0)
  let atMs = 0
  return Array.from({ length: count }, () => {
    atMs -= (Math.log(1 - random()) * 1000) / perSecond
    const { meanMs, quantilesMs, cpuShare } = pick(kinds, random() * perSecond)
    const quantile = quantilesMs[Math.floor(random() * quantilesMs.length)] ?? 0
    const ms = (quantile * meanMs) / average(quantilesMs)
    return { atMs, cpuMs: ms * cpuShare, otherMs: ms * (1 - cpuShare) }
  })
}

/** Returns the kind at a point of the line on which each kind is as long as its rate. */
function pick(kinds: Kind[], at: number): Kind {
  let before = 0
  for (const kind of kinds) {
    if (at < before + kind.perSecond) return kind
    before += kind.perSecond
  }
  throw new Error('A simulation needs at least one statement per second.')
}

/**
 * Simulates a pool in transaction mode. The statement that has waited longest gets the next free connection. It first
 * takes its other time (network, disk), then its CPU time. Postgres' cores are shared equally by the statements that
 * compute. Returns for each statement the wait for a connection and the time until its end, in ms.
 */
export function simulatePool(statements: Statement[], { connections, cores = Number.POSITIVE_INFINITY }: Pool) {
  const [waits, responses]: [number[], number[]] = [[], []]
  let running: Running[] = []
  let now = 0
  let next = 0 // the first statement that has no connection yet
  while (next < statements.length || running.length > 0) {
    const computing = running.filter(({ otherMs }) => otherMs <= 0).length
    const speed = Math.min(1, cores / computing)
    const waiting = running.length < connections ? statements[next] : undefined
    const ends = running.map(({ otherMs, cpuMs }) => (otherMs > 0 ? otherMs : cpuMs / speed))
    const step = Math.max(0, Math.min((waiting?.atMs ?? Number.POSITIVE_INFINITY) - now, ...ends))
    now += step
    for (const statement of running) advance(statement, step, speed)
    for (const { index } of running.filter(isDone)) responses[index] = now - (statements[index]?.atMs ?? 0)
    running = running.filter((statement) => !isDone(statement))
    if (!waiting || waiting.atMs > now || running.length >= connections) continue
    waits[next] = now - waiting.atMs
    running.push({ index: next, cpuMs: waiting.cpuMs, otherMs: waiting.otherMs })
    next += 1
  }
  return { waits, responses }
}

const rounding = 1e-9 // ms: the error of sums of steps

function advance(statement: Running, stepMs: number, speed: number): void {
  if (statement.otherMs > rounding) statement.otherMs -= stepMs
  else statement.cpuMs -= stepMs * speed
  if (statement.otherMs <= rounding) statement.otherMs = 0
}

function isDone({ otherMs, cpuMs }: Running): boolean {
  return otherMs <= 0 && cpuMs <= rounding
}

const settled = 0.1 // of all statements: the pool is empty at the beginning

/** The waits and times of a simulated pool in its steady state, in ms. */
export function summarizePool(kinds: Kind[], pool: Pool, count = 20_000) {
  const { waits, responses } = simulatePool(createStatements(kinds, count), pool)
  const steady = waits.slice(count * settled)
  return {
    meanWaitMs: average(steady),
    p99WaitMs: percentile(steady, 0.99),
    meanMs: average(responses.slice(count * settled)),
  }
}

/** The smallest pool in which 99 % of the statements wait for at most `longestMs`. Undefined if there is none. */
export function findPoolSize(kinds: Kind[], cores: number, longestMs: number): number | undefined {
  const isEnough = (connections: number) => summarizePool(kinds, { connections, cores }, 5000).p99WaitMs <= longestMs
  const offered = kinds.reduce((sum, { perSecond, meanMs }) => sum + (perSecond * meanMs) / 1000, 0)
  let [tooFew, enough] = [Math.floor(offered), Math.ceil(offered) * 4 + 20] // a pool with less than `offered` never catches up
  if (!isEnough(enough)) return undefined
  while (enough - tooFew > 1) {
    const middle = Math.floor((tooFew + enough) / 2)
    if (isEnough(middle)) enough = middle
    else tooFew = middle
  }
  return enough
}

export function average(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
}

export function percentile(values: number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? 0
}

const quantileCount = 40

/** Returns quantiles of measured times, each standing for the same number of them. */
export function toQuantiles(times: number[]): number[] {
  return Array.from({ length: quantileCount }, (_, index) => percentile(times, (index + 0.5) / quantileCount))
}
