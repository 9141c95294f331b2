import { and, inArray, type SQL, sql } from 'drizzle-orm'
import { isReadableBy } from './chunks.ts'
import type { Db } from './client.ts'
import { chunks, type Scope } from './schema.ts'
import { type SearchShape, writeSearch } from './search-statement.ts'
import { createStatistics, type Statistics } from './statistics.ts'
import { type Tokenizer, toTermNumber } from './terms.ts'

export type Search = {
  text: string
  /** A vector as JSON, such as `[0.1,-0.2]`, which is pgvector's text format. Null: search by words only. */
  embedding: string | null
  embeddingModel: string
  limit: number
  /** The weight of the vector score relative to the text score, from 0 to 1. Default: 1. */
  vectorWeight?: number
  /** The documents to search. Default: all. */
  scope?: Scope | undefined
  /** The organization whose shared documents are searched too. */
  organization?: string | undefined
}

/** Creates the hybrid search over an owner's chunks. */
export function createPassages(db: Db, tokenizer: Tokenizer) {
  const [statements, readStatistics] = [new Map<string, Statement>(), createStatistics(db)]
  const prepare = (shape: SearchShape): Statement => {
    const key = JSON.stringify(shape)
    const statement =
      statements.get(key) ?? selectFound(db, writeSearch(shape)).prepare(`search_passages_${statements.size}`)
    statements.set(key, statement)
    return statement
  }
  const { id, heading, content, ownerId } = chunks
  return {
    /** Returns the texts of chunks that still exist, and that the owner or the organization has. */
    read: (owner: string, chunkIds: string[], organization?: string) =>
      db
        .select({ chunkId: id, heading, text: content })
        .from(chunks)
        .where(and(isReadableBy(ownerId, owner, organization), inArray(id, chunkIds))),

    /**
     * Returns the best chunks for a question, best first: nearest vectors and matching words, fused by score. Reads the
     * statistics of Postgres once per minute, otherwise one statement.
     */
    search: async (owner: string, search: Search) =>
      prepare(chooseShape(search)).execute(toParameters(tokenizer, owner, search, await readStatistics())),
  }
}

type Statement = ReturnType<ReturnType<typeof selectFound>['prepare']>

function selectFound(db: Db, found: SQL) {
  return db
    .select({
      chunkId: sql<string>`id`,
      documentId: sql<string>`document_id`,
      title: sql<string>`title`,
      heading: sql<string>`heading`,
      text: sql<string>`content`,
      start: sql<number>`start`,
      end: sql<number>`"end"`,
      page: sql<number | null>`page`,
      score: sql<number>`score`,
      // Ranks start at 1, and are null if the retriever did not find the chunk.
      vectorRank: sql<number | null>`vector_rank`.mapWith(Number),
      vectorDistance: sql<number | null>`distance`,
      textRank: sql<number | null>`text_rank`.mapWith(Number),
      textScore: sql<number | null>`bm25`,
    })
    .from(sql`(${found}) as found`)
}

function chooseShape({ embedding, embeddingModel: model, scope }: Search): SearchShape {
  return {
    ...(embedding && { vectors: { model, dimensions: embedding.split(',').length } }),
    ...(scope && { scope: scope.documentIds ? 'by id' : 'by filter' }),
  }
}

/** Characters of a question whose words are searched: more than a person asks. */
const longestText = 4000
/** Words of a question: a typical one has ten. */
const mostWords = 40
/** Chunks to score for rare words. With those for a pair of common ones, that finds 0.94 of the best ten of 10,000. */
const readBudget = 300
/** An owner with at most this many chunks is searched for every word. It then costs as much as an owner with 10,000. */
const fewChunks = 1000

function toParameters(
  { countTerms }: Tokenizer,
  owner: string,
  search: Search,
  { total, byOwner, byTerm, rarest }: Statistics,
) {
  const { text, embedding, embeddingModel: model, limit, vectorWeight = 1, scope, organization } = search
  const owners = organization ? [owner, organization] : [owner]
  const sizes = owners.map((id) => byOwner.get(id) ?? null) // unknown: one of many small owners
  const size = addKnown(sizes) ?? 0
  const words = Array.from(countTerms(text.slice(0, longestText), true).keys(), (word) => {
    const terms = owners.map((id) => toTermNumber(id, word))
    const counts = terms.map((term) => byTerm.get(term) ?? null)
    return { terms, counts, count: addKnown(counts) }
  })
    .toSorted((left, right) => (left.count ?? 0) - (right.count ?? 0))
    .slice(0, mostWords)
  const rareCount = size <= fewChunks ? words.length : countRare(words, rarest)
  // Comparing a chunk takes about a microsecond. The index visits 50 * total / size chunks, each of which takes 20.
  const guessed = Math.round(rarest / 2 / owners.length)
  const mostCompared = Math.round(Math.max(1000, Math.sqrt(50 * 20 * total)))
  return {
    owners: toArray(owners),
    model,
    embedding,
    limit,
    vectorWeight,
    mostCompared,
    sizes: toArray(sizes),
    isSmall: size <= mostCompared,
    terms: toArray(words.flatMap(({ terms }) => terms)),
    // Unknown counts of rare words are counted.
    counts: toArray(
      words.flatMap(({ counts }, index) => counts.map((count) => count ?? (index < rareCount ? null : guessed))),
    ),
    sought: toArray(chooseSought(words, rareCount).map((terms) => `"{${terms.join()}}"`)),
    filter: JSON.stringify(scope?.filter ?? {}),
    documentIds: toArray(scope?.documentIds ?? []),
  }
}

/** Returns an array in the text format of Postgres. */
const toArray = (items: (string | number | null)[]) => `{${items.map((item) => item ?? 'null').join()}}`

/** Returns the sum of the counts that are known, or null if none is. */
function addKnown(counts: (number | null)[]): number | null {
  const known = counts.filter((count) => count !== null)
  return known.length === 0 ? null : known.reduce((sum, count) => sum + count)
}

/** A word has a term for each owner. */
type Word = { terms: number[]; counts: (number | null)[]; count: number | null }

/** Returns how many of the words, which are sorted by count, are rare: together within the budget. */
function countRare(words: Word[], rarest: number): number {
  let read = 0
  const firstCommon = words.findIndex(({ count }) => {
    read += count ?? Math.min(rarest, readBudget / 2) / 2 // at least four words of unknown count are rare
    return read > readBudget
  })
  return firstCommon === -1 ? words.length : firstCommon
}

/**
 * Chooses sets of terms. Chunks that contain all terms of a set are scored. Each rare word is a set of its own, and the
 * next two form a pair: so a question of common words reads few chunks, and a question whose rare words do not occur
 * still finds something. Each set is repeated for each owner.
 */
function chooseSought(words: Word[], rareCount: number): number[][] {
  const pair = words.slice(rareCount, rareCount + 2)
  const sets = [...words.slice(0, rareCount).map((word) => [word]), ...(pair.length > 0 ? [pair] : [])]
  return sets.flatMap((set) => set[0]?.terms.map((_, owner) => set.map(({ terms }) => terms[owner] ?? 0)) ?? [])
}
