import { and, asc, desc, eq, inArray, is, Placeholder, type SQL, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import type { Db } from './client.ts'
import { chunks, documents, type Scope } from './schema.ts'

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
}

const { placeholder } = sql
const owner = sql`${placeholder('owner')}::uuid`
/** Candidates per retriever. */
const candidateCount = sql.raw('50')
/** Characters of a question whose words are searched. Queries of 20,000 words exceed the stack of Postgres. */
const longestText = 4000

/** Creates the hybrid search over an owner's chunks. */
export function createPassages(db: Db) {
  const search = buildSearch(db).prepare('search_passages')
  const { id, heading, content, ownerId } = chunks
  return {
    /** Returns the texts of chunks that still exist. */
    read: (owner: string, chunkIds: string[]) =>
      db
        .select({ chunkId: id, heading, text: content })
        .from(chunks)
        .where(and(eq(ownerId, owner), inArray(id, chunkIds))),

    /** Returns the best chunks for a question, best first: nearest vectors and matching words, fused by score. */
    search: (owner: string, { text, embedding, embeddingModel, limit, vectorWeight = 1, scope }: Search) =>
      search.execute({
        owner,
        text: text.slice(0, longestText),
        limit,
        vectorWeight,
        embedding,
        model: embeddingModel,
        scope: scope ? JSON.stringify(scope) : null,
      }),
  }
}

/** Returns the SQL of the search and its parameter names in order, for the benchmark's client without Drizzle. */
export function describeSearch() {
  const { sql: text, params } = buildSearch(drizzle.mock()).toSQL()
  return { text, names: params.map((param) => (is(param, Placeholder) ? param.name : '')) }
}

function buildSearch(db: Db) {
  const [embedding, model] = [sql`${placeholder('embedding')}::halfvec`, sql`${placeholder('model')}`]
  const scope = db.$with('scope', { documents: sql<string[]>`documents` }).as(sql`
    select list_documents(${owner}, ${placeholder('scope')}::jsonb) as documents`)
  const documentIds = sql.raw('(select documents from scope)')
  const vectors = sql`search_vectors(${owner}, ${embedding}, ${model}, ${documentIds}, ${candidateCount})`
  const byVector = asRetriever(db, 'by_vector', vectors, normalizeDistance)
  const byText = asRetriever(
    db,
    'by_text',
    sql`search_words(${owner}, ${placeholder('text')}, ${model}, ${documentIds}, ${candidateCount})`,
    normalizeScore,
  )
  const fused = fuse(db, byVector, byText)
  return db
    .with(scope, byVector, byText, fused)
    .select({
      chunkId: chunks.id,
      documentId: chunks.documentId,
      title: documents.title,
      heading: chunks.heading,
      text: chunks.content,
      start: chunks.start,
      end: chunks.end,
      page: chunks.page,
      score: fused.score,
      // Ranks start at 1, and are null if the retriever did not find the chunk.
      vectorRank: fused.vectorRank,
      vectorDistance: fused.vectorDistance,
      textRank: fused.textRank,
      textScore: fused.textScore,
    })
    .from(fused)
    .innerJoin(chunks, eq(chunks.id, fused.id))
    .innerJoin(documents, eq(documents.id, chunks.documentId))
    .orderBy(desc(fused.score), asc(chunks.id))
}

type Retriever = ReturnType<typeof asRetriever>

/** Fuses both retrievers: the score of a chunk is the weighted sum of its normalized scores. */
function fuse(db: Db, byVector: Retriever, byText: Retriever) {
  const id = sql<string>`coalesce(${byVector.id}, ${byText.id})`.as('found_id')
  const weighted = sql`${placeholder('vectorWeight')}::float8 * coalesce(${byVector.normalized}, 0)`
  const columns = {
    id,
    score: sql<number>`${weighted} + coalesce(${byText.normalized}, 0)`.as('score'),
    vectorRank: byVector.rank,
    vectorDistance: byVector.measure,
    textRank: byText.rank,
    textScore: byText.measure,
  }
  const both = db.select(columns).from(byVector).fullJoin(byText, eq(byText.id, byVector.id))
  return db.$with('fused').as(both.orderBy(sql`score desc`, sql`found_id`).limit(placeholder('limit')))
}

/**
 * Wraps a function of search.sql: chunk ids, their measure (distance or score), ranks from 1, and the measure normalized
 * to 0 to 1. Column names include `name`, because Drizzle writes such columns without their table name.
 */
function asRetriever(db: Db, name: string, call: SQL, normalize: (measure: SQL) => SQL) {
  const column = (part: string) => sql`${sql.identifier(`${name}_${part}`)}`
  const [id, measure, rank, normalized] = [column('id'), column('measure'), column('rank'), column('normalized')]
  const columns = {
    id: sql<string>`${id}`.as(`${name}_id`),
    measure: sql<number | null>`${measure}`.as(`${name}_measure`),
    rank: sql<number | null>`${rank}`.mapWith(Number).as(`${name}_rank`),
    normalized: sql<number | null>`${normalized}`.as(`${name}_normalized`),
  }
  return db
    .$with(name, columns)
    .as(sql`select *, ${normalize(measure)} as ${normalized} from ${call} as found (${id}, ${measure}, ${rank})`)
}

/** Maps distances to scores: 0 for the farthest candidate, 1 for the nearest. */
function normalizeDistance(distance: SQL): SQL {
  const farthest = sql`max(${distance}) over ()`
  return sql`coalesce((${farthest} - ${distance}) / nullif(${farthest} - min(${distance}) over (), 0), 1)`
}

function normalizeScore(score: SQL): SQL {
  return sql`${score} / max(${score}) over ()`
}

/** Returns a quoted SQL literal, where parameters are not allowed. Assumes `standard_conforming_strings`, the default. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
