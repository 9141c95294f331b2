import { existsSync, globSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { createBm25 } from './bm25.ts'
import { type Collection, readCollection } from './collection.ts'
import { drawIntervals } from './intervals.ts'
import { bootstrap, computeNdcg, type Interval, type Measures, measure, measureNames } from './measures.ts'
import type { Options } from './options.ts'
import { type RankingName, type Rankings, rankingNames, searchCollection, type Target } from './search-collection.ts'

type Name = RankingName | 'bm25'
const names: readonly Name[] = [...rankingNames, 'bm25']

/** `reranked` is unset without a reranker. */
type Results = Record<Name, Measures> & { reranked?: Measures }

/**
 * Measures retrieval quality on a collection in BEIR's layout, or on each collection in a folder. Prints the results, and
 * writes the requested files.
 */
export async function runEvaluation(options: Options, target: Target, signal: AbortSignal): Promise<void> {
  const folders = listCollections(options.folder)
  if (!folders.includes(options.folder)) return evaluateEach(options, folders, target, signal)
  const collection = await readCollection(options.folder)
  const { documents, queries } = collection
  console.log(`${options.folder}: ${documents.length} documents, ${queries.length} queries, ${target.embedder.name}`)
  const { results, rankings, queriesPerSecond } = await evaluate(collection, 'eval', target, signal)
  console.log(formatTable('', measureNames, results))
  console.log(compareHybrid(collection, rankings))
  console.log(
    `${queriesPerSecond.toFixed(0)} queries per second on ${availableParallelism()} cores, sequentially, including embedding`,
  )
  const about = { documents: documents.length, queries: queries.length, embedder: target.embedder.name }
  writeFiles(options, { ...results, ...about, queriesPerSecond }, results)
}

/** Returns the folder itself if it is a collection, otherwise the collections in it. */
function listCollections(folder: string): string[] {
  const inside = globSync('*/corpus.jsonl', { cwd: folder }).map((file) => join(folder, dirname(file)))
  return existsSync(join(folder, 'corpus.jsonl')) || inside.length === 0 ? [folder] : inside.sort()
}

/** Prints nDCG@10 of each retriever, with one row per collection. */
async function evaluateEach(options: Options, folders: string[], target: Target, signal: AbortSignal): Promise<void> {
  const results: Record<string, Results> = {}
  for (const folder of folders) {
    const name = basename(folder)
    results[name] = (await evaluate(await readCollection(folder), `eval ${name}`, target, signal)).results
  }
  const table = mapValues(results, (measures) => mapValues(measures, (measure) => measure['ndcg@10']))
  console.log(formatTable('nDCG@10', target.reranker ? [...names, 'reranked'] : names, table))
  writeFiles(
    options,
    { ...results, embedder: target.embedder.name },
    mapValues(results, ({ hybrid }) => hybrid),
  )
}

async function evaluate(collection: Collection, owner: string, target: Target, signal: AbortSignal) {
  const { rankings, queriesPerSecond } = await searchCollection(target, collection, owner, console.error, signal)
  const measure = (name: Name) => judge(collection, name === 'bm25' ? rankByScript(collection) : rankings[name])
  const results: Results = {
    text: measure('text'),
    vector: measure('vector'),
    hybrid: measure('hybrid'),
    bm25: measure('bm25'),
    ...(rankings.reranked && { reranked: judge(collection, rankings.reranked) }),
  }
  return { results, rankings, queriesPerSecond }
}

function writeFiles({ json, plot }: Options, content: object, plotted: Record<string, Measures>): void {
  if (json) writeFileSync(json, `${JSON.stringify(content, null, 2)}\n`)
  if (plot) writeFileSync(plot, drawIntervals(plotted))
}

const mapValues = <T, U>(record: Record<string, T>, map: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))

function rankByScript({ documents, queries }: Collection): string[][] {
  const search = createBm25({ documents })
  return queries.map(({ text }) => search(text, 10))
}

function judge({ queries }: Collection, rankings: string[][]): Measures {
  return measure(queries.map(({ relevance }, index) => ({ relevance, ranking: rankings[index] ?? [] })))
}

/** Compares hybrid with the better of its retrievers, query by query. */
function compareHybrid({ queries }: Collection, rankings: Rankings): string {
  const ndcgs = (name: RankingName) =>
    queries.map(({ relevance }, index) => computeNdcg({ relevance, ranking: rankings[name][index] ?? [] }))
  const [text, vector, hybrid] = [ndcgs('text'), ndcgs('vector'), ndcgs('hybrid')]
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)
  const [name, better] = sum(text) >= sum(vector) ? ['text', text] : ['vector', vector]
  const { value, low, high } = bootstrap(hybrid.map((ndcg, index) => ndcg - (better[index] ?? 0)))
  return `hybrid minus ${name}: ${value.toFixed(3)} nDCG@10 (${low.toFixed(3)} to ${high.toFixed(3)})`
}

/** Formats intervals as a table, with one line per row. */
function formatTable(
  title: string,
  columns: readonly string[],
  rows: Record<string, Record<string, Interval>>,
): string {
  const width = 2 + Math.max(title.length, ...Object.keys(rows).map((name) => name.length))
  const show = (interval: Interval | undefined) =>
    interval ? `${interval.value.toFixed(3)} (${interval.low.toFixed(3)}-${interval.high.toFixed(3)})` : '-'
  const header = title.padEnd(width) + columns.map((name) => name.padStart(22)).join('')
  const lines = Object.entries(rows).map(
    ([name, row]) => name.padEnd(width) + columns.map((column) => show(row[column]).padStart(22)).join(''),
  )
  return [header, ...lines].join('\n')
}
