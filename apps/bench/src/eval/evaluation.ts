import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { createBm25 } from './bm25.ts'
import { type Collection, readCollection } from './collection.ts'
import { drawIntervals } from './intervals.ts'
import { bootstrap, computeNdcg, type MeasureName, type Measures, measure, measureNames } from './measures.ts'
import type { Options } from './options.ts'
import { type RankingName, rankingNames, searchCollection, type Target } from './search-collection.ts'

type Name = RankingName | 'bm25'
const names: readonly Name[] = [...rankingNames, 'bm25']

/** Measures retrieval quality on a collection in BEIR's layout. Prints the results, and writes the requested files. */
export async function runEvaluation(options: Options, target: Target, signal: AbortSignal): Promise<void> {
  const collection = await readCollection(options.folder)
  const { documents, queries } = collection
  console.log(`${options.folder}: ${documents.length} documents, ${queries.length} queries, ${target.embedder.name}`)
  const { rankings, queriesPerSecond } = await searchCollection(target, collection, console.error, signal)
  const byName = { ...rankings, bm25: rankByScript(collection) }
  const results = Object.fromEntries(names.map((name) => [name, judge(collection, byName[name])]))
  console.log(formatResults(results))
  console.log(compareHybrid(collection, rankings))
  console.log(
    `${queriesPerSecond.toFixed(0)} queries per second on ${availableParallelism()} cores, sequentially, including embedding`,
  )
  if (options.json) {
    const about = { documents: documents.length, queries: queries.length, embedder: target.embedder.name }
    writeFileSync(options.json, `${JSON.stringify({ ...results, ...about, queriesPerSecond }, null, 2)}\n`)
  }
  if (options.plot) writeFileSync(options.plot, drawIntervals(results))
}

function rankByScript({ documents, queries }: Collection): string[][] {
  const search = createBm25({ documents })
  return queries.map(({ text }) => search(text, 10))
}

function judge({ queries }: Collection, rankings: string[][]): Measures {
  return measure(queries.map(({ relevance }, index) => ({ relevance, ranking: rankings[index] ?? [] })))
}

/** Compares hybrid with the better of its retrievers, query by query. */
function compareHybrid({ queries }: Collection, rankings: Record<RankingName, string[][]>): string {
  const ndcgs = (name: RankingName) =>
    queries.map(({ relevance }, index) => computeNdcg({ relevance, ranking: rankings[name][index] ?? [] }))
  const [text, vector, hybrid] = [ndcgs('text'), ndcgs('vector'), ndcgs('hybrid')]
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)
  const [name, better] = sum(text) >= sum(vector) ? ['text', text] : ['vector', vector]
  const { value, low, high } = bootstrap(hybrid.map((ndcg, index) => ndcg - (better[index] ?? 0)))
  return `hybrid minus ${name}: ${value.toFixed(3)} nDCG@10 (${low.toFixed(3)} to ${high.toFixed(3)})`
}

function formatResults(results: Record<string, Measures>): string {
  const show = (measures: Measures, name: MeasureName) => {
    const { value, low, high } = measures[name]
    return `${value.toFixed(3)} (${low.toFixed(3)}-${high.toFixed(3)})`.padStart(22)
  }
  const header = `${''.padEnd(8)}${measureNames.map((name) => name.padStart(22)).join('')}`
  const lines = Object.entries(results).map(
    ([name, measures]) => `${name.padEnd(8)}${measureNames.map((measure) => show(measures, measure)).join('')}`,
  )
  return [header, ...lines].join('\n')
}
