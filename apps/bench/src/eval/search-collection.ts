import { connect, createStore, type Store, sql } from '@repo/db'
import { migrate } from '@repo/db/migrate'
import type { Embedder, Reranker } from '@repo/llm'
import { ingestDocument, type RetrievedPassage, retrievePassages } from '@repo/rag'
import type { Collection } from './collection.ts'

export type Target = {
  databaseUrl: string
  directDatabaseUrl: string
  embedder: Embedder
  reranker?: Reranker | undefined
}
export const rankingNames = ['text', 'vector', 'hybrid'] as const
export type RankingName = (typeof rankingNames)[number]
/** `reranked` is undefined without a reranker. */
export type Rankings = Record<RankingName, string[][]> & { reranked?: string[][] }
export type Found = { rankings: Rankings; queriesPerSecond: number }

/** Concurrent ingestions: with two, a core stays busy while one waits for the database. */
const concurrency = 2
/** All candidates of both retrievers, so that the ranking of each can be reconstructed. */
const passageLimit = 100
/** All candidates of the reranker. */
const rerankedLimit = 30

/**
 * Ingests a collection as the API does, builds the index, and runs one search per query. Returns the ranking of each
 * retriever, and of the reranker if there is one, with documents ranked by their best passage. The documents must be the owner's only ones. `report` receives
 * progress messages.
 */
export async function searchCollection(
  { databaseUrl, directDatabaseUrl, embedder, reranker }: Target,
  { documents, queries }: Collection,
  ownerName: string,
  report: (line: string) => void,
  signal: AbortSignal,
): Promise<Found> {
  await migrate({ directUrl: directDatabaseUrl })
  const { db, close } = connect({ url: databaseUrl, poolSize: concurrency })
  try {
    const store = createStore(db)
    const owner = await store.owners.ensure(ownerName)
    const ids = await ingestAll({ store, embedder }, owner, documents, report, signal)
    const [probe = []] = await embedder.embed(['How wide is a vector?'])
    await migrate({ directUrl: directDatabaseUrl, embedder: { model: embedder.name, dimensions: probe.length } })
    await db.execute(sql`analyze`)
    const startedAt = performance.now()
    const found: RetrievedPassage[][] = []
    for (const { text } of queries) {
      signal.throwIfAborted()
      found.push(await retrievePassages({ store, embedder }, owner, text, { limit: passageLimit }))
    }
    const seconds = (performance.now() - startedAt) / 1000
    const rankings: Rankings = toRankings(found, ids)
    if (reranker) rankings.reranked = await rerankAll({ store, embedder, reranker }, owner, queries, ids, signal)
    return { rankings, queriesPerSecond: queries.length / seconds }
  } finally {
    await close()
  }
}

/** Ingests all documents. Returns the collection's ids by store id, because documents with equal content share one. */
async function ingestAll(
  options: { store: Store; embedder: Embedder },
  owner: string,
  documents: Collection['documents'],
  report: (line: string) => void,
  signal: AbortSignal,
): Promise<Map<string, string[]>> {
  const ids = new Map<string, string[]>()
  const queue = documents.values()
  let done = 0
  const work = async () => {
    for (const { _id, title, text } of queue) {
      signal.throwIfAborted()
      const { id, error } = await ingestDocument(options, owner, { title, text: text.trim() || title })
      if (error) throw new Error(`Failed to ingest document ${_id}: ${error}`)
      ids.set(id, [...(ids.get(id) ?? []), _id])
      done += 1
      if (done % 1000 === 0) report(`${done} of ${documents.length} documents`)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  return ids
}

/** Returns the ranking of the reranker for each query. */
async function rerankAll(
  options: { store: Store; embedder: Embedder; reranker: Reranker },
  owner: string,
  queries: Collection['queries'],
  ids: Map<string, string[]>,
  signal: AbortSignal,
): Promise<string[][]> {
  const found: RetrievedPassage[][] = []
  for (const { text } of queries)
    found.push(await retrievePassages(options, owner, text, { limit: rerankedLimit, signal }))
  return toRankings(found, ids).hybrid
}

function toRankings(found: RetrievedPassage[][], ids: Map<string, string[]>): Record<RankingName, string[][]> {
  const rank = (read: (passage: RetrievedPassage) => number | null) =>
    found.map((passages) => {
      const placed = passages.flatMap((passage) => {
        const position = read(passage)
        return position === null ? [] : [{ position, documentId: passage.documentId }]
      })
      const ordered = placed.sort((left, right) => left.position - right.position)
      return [...new Set(ordered.flatMap(({ documentId }) => ids.get(documentId) ?? []))]
    })
  return {
    text: rank(({ textRank }) => textRank),
    vector: rank(({ vectorRank }) => vectorRank),
    hybrid: rank(({ score }) => -score),
  }
}
