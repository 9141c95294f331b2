import { expect, it } from 'vitest'
import {
  average,
  createStatements,
  findPoolSize,
  type Kind,
  percentile,
  simulatePool,
  summarizePool,
} from './simulate.ts'

const points = 1000
const exponential = Array.from({ length: points }, (_, index) => -Math.log(1 - (index + 0.5) / points))
const isNearOne = (ratio: number) => Math.abs(ratio - 1) < 0.1 // the error of so few statements
const every10ms = (perSecond: number, cpuShare = 0): Kind[] => [
  { perSecond, meanMs: 10, quantilesMs: exponential, cpuShare },
]

/** The mean wait in ms of a queue M/M/c whose servers need 10 ms: Erlang's formula C. */
function erlangWait(servers: number, perSecond: number): number {
  const load = perSecond / 100
  let term = 1
  let sum = 0
  for (let n = 0; n < servers; n += 1) {
    sum += term
    term *= load / (n + 1)
  }
  const last = (term * servers) / (servers - load)
  return (last / (sum + last)) * (1000 / (100 * servers - perSecond))
}

it.each([
  [1, 50],
  [1, 80],
  [2, 160],
  [4, 320],
  [8, 700],
])('waits as long as Erlang C says with %i connections and %i statements per second', (connections, perSecond) => {
  const { meanWaitMs } = summarizePool(every10ms(perSecond), { connections }, 200_000)
  expect(meanWaitMs / erlangWait(connections, perSecond)).toSatisfy(isNearOne)
})

it('takes as long as processor sharing says if one core computes everything at once', () => {
  const { meanWaitMs, meanMs } = summarizePool(every10ms(70, 1), { connections: 1000, cores: 1 }, 100_000)
  expect(meanWaitMs).toBe(0)
  expect(meanMs / (10 / (1 - 0.7))).toSatisfy(isNearOne) // M/M/1-PS: service time / (1 - load)
})

it('lets statements of constant time wait half as long', () => {
  const constant = [{ perSecond: 80, meanMs: 10, quantilesMs: [1], cpuShare: 0 }]
  expect(summarizePool(constant, { connections: 1 }, 200_000).meanWaitMs / (erlangWait(1, 80) / 2)).toSatisfy(isNearOne)
})

it('lets nothing wait without load, and everything under overload', () => {
  expect(summarizePool(every10ms(1), { connections: 4 }, 1000).p99WaitMs).toBe(0)
  const statements = createStatements(every10ms(400), 4000) // for 10 s, twice as many as 2 connections can run
  expect(average(simulatePool(statements, { connections: 2 }).waits) / 5000).toSatisfy(isNearOne)
})

it('serves in order of arrival, and adds waiting to the time of a statement', () => {
  const statements = [0, 1, 2].map((atMs) => ({ atMs, cpuMs: 4, otherMs: 6 }))
  expect(simulatePool(statements, { connections: 1 })).toEqual({ waits: [0, 9, 18], responses: [10, 19, 28] })
  expect(simulatePool(statements, { connections: 2 }).waits).toEqual([0, 0, 8])
})

it('finds the smallest pool that is fast enough', () => {
  const kinds = every10ms(300, 0.5)
  const size = findPoolSize(kinds, 4, 5) ?? 0
  const p99 = (connections: number) => summarizePool(kinds, { connections, cores: 4 }, 5000).p99WaitMs
  expect(p99(size)).toBeLessThanOrEqual(5)
  expect(p99(size - 1)).toBeGreaterThan(5)
  expect(findPoolSize(every10ms(300, 1), 2, 5)).toBe(undefined) // 3 cores of work for 2 cores
})

it('returns the value below which a share of all values is', () => {
  expect(percentile([4, 1, 3, 2], 0.5)).toBe(2)
  expect(percentile([], 0.99)).toBe(0)
})
