import { describe, expect, it } from 'vitest'
import {
  type Cost,
  deriveCosts,
  listLimits,
  listStatements,
  planDeployment,
  predict,
  type Run,
  type UnitCosts,
  type Work,
} from './model.ts'

const cost = (values: Partial<Cost>): Cost => ({
  ...{ api: 0, worker: 0, pgbouncer: 0, postgres: 0, walKb: 0, statements: 0, heldMs: 0 },
  ...values,
})
const units: UnitCosts = {
  chats: cost({ api: 2, pgbouncer: 0.3, postgres: 3, walKb: 4, statements: 3, heldMs: 6 }),
  tokens: cost({ api: 0.05 }),
  streamSeconds: cost({ api: 0.1, postgres: 0.05, walKb: 1, heldMs: 0.06 }),
  processSeconds: cost({ api: 5, statements: 5, heldMs: 1 }),
  chunks: cost({ api: 0.2, worker: 2, postgres: 2, walKb: 8, statements: 0.1, heldMs: 1 }),
}

function run(given: Partial<Work>): Run {
  const work = { chats: 0, tokens: 0, streamSeconds: 0, chunks: 0, processSeconds: 10, ...given }
  return { name: 'run', seconds: 10, work, cost: predict(work, units) }
}

const runs = {
  idle: run({}),
  slow: run({ tokens: 1000, streamSeconds: 1000 }),
  fast: run({ tokens: 50_000, streamSeconds: 1000 }),
  chats: run({ chats: 500, tokens: 500, streamSeconds: 20 }),
  ingestion: run({ chunks: 900 }),
}

describe('the costs of units', () => {
  it('are found again in the runs that they add up to', () => {
    const found = deriveCosts(runs)
    for (const kind of ['chats', 'tokens', 'streamSeconds', 'processSeconds', 'chunks'] as const)
      for (const [name, value] of Object.entries(found[kind]))
        expect(value, `${kind} ${name}`).toBeCloseTo(new Map(Object.entries(units[kind])).get(name) ?? -1, 8)
  })

  it('are never negative, even if a run with more work used less', () => {
    const fast = { ...runs.fast, cost: runs.idle.cost }
    expect(Math.min(...Object.values(deriveCosts({ ...runs, fast }).tokens))).toBe(0)
  })
})

const measured = {
  units,
  quantilesMs: [1, 2, 3],
  memory: { processKb: 100_000, streamKb: 100, connectionKb: 10_000, chunkKb: 5 },
}

it('a deployment has enough of everything, by the formulas of the table', () => {
  const plan = planDeployment(9000, measured) // 180,000 tokens, 600 chats and 600 chunks per second
  expect(plan).toMatchObject({ tokens: 180_000, chats: 600, workerCores: 2, poolers: 1, postgresCores: 6 })
  expect(plan.processes).toBe(Math.ceil((180_000 * 0.05 + 600 * 2 + 9000 * 0.1 + 600 * 0.2) / (600 - 5)))
  expect(plan.cost.api / plan.processes).toBeLessThanOrEqual(600)
  expect(plan.connections).toBeGreaterThan(plan.busyConnections)
  expect(plan.postgresMemoryGb).toBeCloseTo(45 + (plan.connections ?? 0) * 0.01, 5)
})

it('a deployment has as many PgBouncers as their CPU or their clients require', () => {
  expect(planDeployment(100_000, measured).poolers).toBe(4) // 6,667 chats per second of 0.3 ms, at 60 %
  const free = { ...units, tokens: cost({}), chats: cost({ api: 2 }), streamSeconds: cost({}) }
  expect(planDeployment(2_000_000, { ...measured, units: free }).poolers).toBe(3) // 1,000 processes with 11 clients each
})

it('the statements of a load take as much connection time as it costs', () => {
  const load = { streams: 1000, tokensPerSecond: 20, tokensPerAnswer: 300, chunksPerChat: 1, processes: 2 }
  const kinds = listStatements(load, measured)
  const held = kinds.reduce((sum, { perSecond, meanMs }) => sum + perSecond * meanMs, 0)
  const work = { chats: 1000 / 15, tokens: 20_000, streamSeconds: 1000, chunks: 1000 / 15, processSeconds: 2 }
  expect(held).toBeCloseTo(predict(work, units).heldMs, 6)
  expect(kinds.at(-1)).toMatchObject({ perSecond: 2, meanMs: 30 }) // progress: 500 rows of 0.06 ms
})

it('limits are in the order in which they are reached', () => {
  const limits = listLimits(measured)
  expect(limits[0]).toMatchObject({ name: 'one API process', streams: 595 / (0.1 + 1 + 2 / 15 + 0.2 / 15) })
  expect(limits.map(({ streams }) => streams)).toEqual(limits.map(({ streams }) => streams).toSorted((a, b) => a - b))
})
