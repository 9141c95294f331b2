import { describe, expect, it } from 'vitest'
import { bootstrap, computeNdcg, computeRecall, computeReciprocalRank, measure } from './measures.ts'

const relevance = new Map([
  ['best', 3],
  ['good', 1],
])
const judge = (...ranking: string[]) => ({ ranking, relevance })
const noise = Array.from({ length: 9 }, (_, n) => `noise ${n}`)

describe('nDCG@10', () => {
  it('is linear gain over log2(rank + 1), as in trec_eval', () => {
    // By hand: (1/log2(2) + 3/log2(4)) / (3/log2(2) + 1/log2(4)) = 2.5 / 3.630930
    expect(computeNdcg(judge('good', 'noise', 'best'))).toBeCloseTo((1 + 3 / 2) / (3 + 1 / Math.log2(3)), 10)
    expect(computeNdcg(judge('best', 'good'))).toBe(1)
    expect(computeNdcg(judge('noise'))).toBe(0)
  })

  it('considers only the first ten', () => {
    expect(computeNdcg(judge(...noise, 'best'))).toBeGreaterThan(0)
    expect(computeNdcg(judge('noise', ...noise, 'best'))).toBe(0)
  })
})

it('recall@10 is the share of relevant documents found', () => {
  expect(computeRecall(judge('noise', 'good'))).toBe(0.5)
  expect(computeRecall(judge('noise', ...noise, 'good'))).toBe(0)
})

it('MRR@10 is the reciprocal rank of the first relevant document', () => {
  expect(computeReciprocalRank(judge('noise', 'good', 'best'))).toBe(0.5)
  expect(computeReciprocalRank(judge('noise', ...noise, 'best'))).toBe(0)
})

describe('an interval', () => {
  it('is deterministic, contains the mean and is narrower for more queries', () => {
    const few = Array.from({ length: 20 }, (_, n) => n % 2)
    const many = Array.from({ length: 500 }, (_, n) => n % 2)
    expect(bootstrap(few)).toEqual(bootstrap(few))
    expect(bootstrap(few)).toMatchObject({ value: 0.5 })
    expect(bootstrap(few).high - bootstrap(few).low).toBeGreaterThan(2 * (bootstrap(many).high - bootstrap(many).low))
    // The standard error of a proportion with n = 500 is 0.0224. The interval is 1.96 standard errors to each side.
    expect(bootstrap(many).high).toBeCloseTo(0.5 + 1.96 * 0.0224, 1)
  })

  it('is a point if all queries have the same value', () => {
    expect(measure([judge('best', 'good'), judge('best', 'good')])['ndcg@10']).toEqual({ value: 1, low: 1, high: 1 })
  })
})
