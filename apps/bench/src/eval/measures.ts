import { createRandom } from '@repo/testing/random'

/** The result of one query: document ids, best first, and the relevance of judged documents. */
export type Judged = { ranking: string[]; relevance: Map<string, number> }
export type Interval = { value: number; low: number; high: number }

export const measureNames = ['ndcg@10', 'recall@10', 'mrr@10'] as const
type MeasureName = (typeof measureNames)[number]
export type Measures = Record<MeasureName, Interval>

const depth = 10
/** Enough for two stable digits of a 95 % interval. */
const resamples = 2000
/** A fixed seed makes intervals reproducible. */
const seed = 20_261_124

/** Returns means over queries with 95 % percentile bootstrap intervals. */
export function measure(judged: Judged[]): Measures {
  return {
    'ndcg@10': bootstrap(judged.map(computeNdcg)),
    'recall@10': bootstrap(judged.map(computeRecall)),
    'mrr@10': bootstrap(judged.map(computeReciprocalRank)),
  }
}

/** Returns nDCG@10: linear gain over log2(rank + 1), as in trec_eval. */
export function computeNdcg({ ranking, relevance }: Judged): number {
  const ideal = [...relevance.values()].sort((a, b) => b - a)
  return discount(ranking.map((id) => relevance.get(id) ?? 0)) / discount(ideal)
}

export function computeRecall({ ranking, relevance }: Judged): number {
  return ranking.slice(0, depth).filter((id) => relevance.has(id)).length / relevance.size
}

export function computeReciprocalRank({ ranking, relevance }: Judged): number {
  const first = ranking.slice(0, depth).findIndex((id) => relevance.has(id))
  return first === -1 ? 0 : 1 / (first + 1)
}

function discount(gains: number[]): number {
  return gains.slice(0, depth).reduce((sum, gain, index) => sum + gain / Math.log2(index + 2), 0)
}

export function bootstrap(values: number[]): Interval {
  const random = createRandom(seed)
  const mean = (read: (index: number) => number) =>
    values.reduce((sum, _, index) => sum + read(index), 0) / values.length
  const draw = () => values[Math.floor(random() * values.length)] ?? 0
  const means = Array.from({ length: resamples }, () => mean(draw)).sort((a, b) => a - b)
  const at = (share: number) => means[Math.round(share * (resamples - 1))] ?? 0
  return { value: mean((index) => values[index] ?? 0), low: at(0.025), high: at(0.975) }
}
