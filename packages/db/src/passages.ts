import { asc, desc, eq, is, Placeholder, type SQL, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import type { Db } from './client.ts'
import { chunks, documents, type Metadata } from './schema.ts'

export type Search = {
  text: string
  /** A vector as JSON, `[0.1,-0.2]`, which is what Postgres reads. */
  embedding: string
  embeddingModel: string
  limit: number
  /** How much the nearest vectors count beside the words in the fusion, from 0 to 1. By default as much. */
  vectorWeight?: number
  /** Only in documents whose metadata holds all of this. */
  filter?: Metadata | undefined
}

const { placeholder } = sql
const [owner, filter] = [sql`${placeholder('owner')}::uuid`, sql`${placeholder('filter')}::jsonb`]
/** How many candidates each leg gives to the fusion. */
const legSize = sql.raw('50')
/** Characters of a question whose words are looked up; the stack of Postgres holds no query of 20,000 words. */
const longestText = 4000

/** Hybrid search over an owner's chunks. */
export function createPassages(db: Db) {
  const search = buildSearch(db).prepare('search_passages')
  return {
    /** The best chunks for a question, best first: nearest vectors and matching words, fused by their scores. */
    search: (owner: string, { text, embedding, embeddingModel, limit, vectorWeight = 1, filter }: Search) =>
      search.execute({
        owner,
        text: text.slice(0, longestText),
        limit,
        vectorWeight,
        embedding,
        model: embeddingModel,
        filter: filter ? JSON.stringify(filter) : null,
      }),
  }
}

/** The search as text and the names of its parameters in their order: for the benchmark's client without Drizzle. */
export function describeSearch() {
  const { sql: text, params } = buildSearch(drizzle.mock()).toSQL()
  return { text, names: params.map((param) => (is(param, Placeholder) ? param.name : '')) }
}

function buildSearch(db: Db) {
  const [embedding, model] = [sql`${placeholder('embedding')}::halfvec`, sql`${placeholder('model')}`]
  const vectors = sql`search_vectors(${owner}, ${embedding}, ${model}, ${filter}, ${legSize})`
  const byVector = asLeg(db, 'by_vector', vectors, shareOfNearness)
  const byText = asLeg(
    db,
    'by_text',
    sql`search_words(${owner}, ${placeholder('text')}, ${model}, ${filter}, ${legSize})`,
    shareOfBest,
  )
  const fused = fuse(db, byVector, byText)
  return db
    .with(byVector, byText, fused)
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
      // Where each leg has it, from 1; null where it does not.
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

type Leg = ReturnType<typeof asLeg>

/** The best of both legs: what each has to say of a chunk, from 0 to 1, the vectors' by their weight. */
function fuse(db: Db, byVector: Leg, byText: Leg) {
  const id = sql<string>`coalesce(${byVector.id}, ${byText.id})`.as('found_id')
  const weighed = sql`${placeholder('vectorWeight')}::float8 * coalesce(${byVector.share}, 0)`
  const columns = {
    id,
    score: sql<number>`${weighed} + coalesce(${byText.share}, 0)`.as('score'),
    vectorRank: byVector.rank,
    vectorDistance: byVector.measure,
    textRank: byText.rank,
    textScore: byText.measure,
  }
  const both = db.select(columns).from(byVector).fullJoin(byText, eq(byText.id, byVector.id))
  return db.$with('fused').as(both.orderBy(sql`score desc`, sql`found_id`).limit(placeholder('limit')))
}

/**
 * What a function of search.sql finds: chunks, what they were measured by, and their ranks from 1; `share` is the measure
 * from 0 to 1. Drizzle writes such columns without their table's name: so each has its own.
 */
function asLeg(db: Db, name: string, call: SQL, toShare: (measure: SQL) => SQL) {
  const column = (part: string) => sql`${sql.identifier(`${name}_${part}`)}`
  const [id, measure, rank, share] = [column('id'), column('measure'), column('rank'), column('share')]
  const columns = {
    id: sql<string>`${id}`.as(`${name}_id`),
    measure: sql<number | null>`${measure}`.as(`${name}_measure`),
    rank: sql<number | null>`${rank}`.mapWith(Number).as(`${name}_rank`),
    share: sql<number | null>`${share}`.as(`${name}_share`),
  }
  return db
    .$with(name, columns)
    .as(sql`select *, ${toShare(measure)} as ${share} from ${call} as found (${id}, ${measure}, ${rank})`)
}

/** From 0 of the farthest that was found to 1 of the nearest. */
function shareOfNearness(distance: SQL): SQL {
  const farthest = sql`max(${distance}) over ()`
  return sql`coalesce((${farthest} - ${distance}) / nullif(${farthest} - min(${distance}) over (), 0), 1)`
}

function shareOfBest(score: SQL): SQL {
  return sql`${score} / max(${score}) over ()`
}

/** A literal for SQL text that must not be a parameter. `standard_conforming_strings` is on since PostgreSQL 9.1. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
