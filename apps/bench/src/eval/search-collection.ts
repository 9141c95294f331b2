import { connect, createStore, type Store, sql } from '@repo/db'
import { migrate } from '@repo/db/migrate'
import type { Embedder } from '@repo/llm'
import { ingestDocument, type RetrievedPassage, retrievePassages } from '@repo/rag'
import type { Collection } from './collection.ts'

export type Target = { databaseUrl: string; directDatabaseUrl: string; embedder: Embedder }
export const legNames = ['text', 'vector', 'hybrid'] as const
export type LegName = (typeof legNames)[number]
export type Found = { rankings: Record<LegName, string[][]>; queriesPerSecond: number }

/** Ingestions at once: two keep a core busy while another waits for the database. */
const concurrency = 2
/** All that both legs bring, so that each leg's own ranking can be read off. */
const passageLimit = 100

/**
 * Ingests a collection as the API does, its index built after the load, asks each query with one search, and gives what
 * each leg found, documents by their best passage. `report` hears how far it is.
 */
export async function searchCollection(
  { databaseUrl, directDatabaseUrl, embedder }: Target,
  { documents, queries }: Collection,
  report: (line: string) => void,
  signal: AbortSignal,
): Promise<Found> {
  await migrate({ directUrl: directDatabaseUrl })
  const { db, close } = connect({ url: databaseUrl, poolSize: concurrency })
  try {
    const store = createStore(db)
    const owner = await store.owners.ensure('eval')
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
    return { rankings: toRankings(found, ids), queriesPerSecond: queries.length / seconds }
  } finally {
    await close()
  }
}

/** The collection's ids by the store's. Documents of the same content are one document there. */
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
      if (error) throw new Error(`document ${_id} could not be ingested: ${error}`)
      ids.set(id, [...(ids.get(id) ?? []), _id])
      done += 1
      if (done % 1000 === 0) report(`${done} of ${documents.length} documents`)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  return ids
}

function toRankings(found: RetrievedPassage[][], ids: Map<string, string[]>): Found['rankings'] {
  const rank = (read: (passage: RetrievedPassage) => number | null) =>
    found.map((passages) => {
      const placed = passages.flatMap((passage) => {
        const place = read(passage)
        return place === null ? [] : [{ place, documentId: passage.documentId }]
      })
      const ordered = placed.sort((left, right) => left.place - right.place)
      return [...new Set(ordered.flatMap(({ documentId }) => ids.get(documentId) ?? []))]
    })
  return {
    text: rank(({ textRank }) => textRank),
    vector: rank(({ vectorRank }) => vectorRank),
    hybrid: rank(({ score }) => -score),
  }
}
