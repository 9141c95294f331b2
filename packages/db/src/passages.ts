import { and, asc, eq, inArray, is, Placeholder, type SQL, type SQLWrapper, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import type { Db } from './client.ts'
import { chunks, documents, type Metadata } from './schema.ts'
import { selectMatching } from './text-leg.ts'

export type Search = {
  text: string
  /** As JSON, `[0.1,-0.2]`, which is what Postgres reads, and how many numbers it holds. */
  embedding: { json: string; width: number }
  embeddingModel: string
  limit: number
  /** How much the nearest vectors count beside the words in the fusion, from 0 to 1. By default as much. */
  vectorWeight?: number
  /** Only in documents whose metadata holds all of this. */
  filter?: Metadata | undefined
}

const { placeholder } = sql
const isOwned = eq(chunks.ownerId, placeholder('owner'))
/** How many candidates each leg gives to the fusion. */
const legSize = 50
/** Damps the lead of a leg's first ranks. 60 is usual (Cormack 2009); by `npm run eval`, a larger lead finds more. */
const fusionConstant = 5
/** Characters of a question whose words are looked up; the stack of Postgres holds no query of 20,000 words. */
const longestText = 4000
/**
 * Always true, which is known where a plan is made for these very values. A plan for any values, which Postgres would
 * keep for all owners, small and large, after a few executions, would have to count this far: it always costs more.
 */
const isPlannedAnew = sql`(${placeholder('true')}::boolean or (select count(*) from generate_series(1, 1000000000)) > 0)`

/** Parameters that are always the same. */
const constants = { legSize, true: true }

/** Hybrid search over an owner's chunks. */
export function createPassages(db: Db) {
  const statements = new Map<string, ReturnType<typeof prepareSearch>>()
  const statementFor = (model: string, width: number, isFiltered: boolean) => {
    const key = `${width} ${isFiltered} ${model}`
    const statement = statements.get(key) ?? prepareSearch(db, model, width, isFiltered)
    statements.set(key, statement)
    return statement
  }
  return {
    /** The best chunks for a question, best first: nearest vectors and matching words, fused by reciprocal rank. */
    search: (owner: string, { text, embedding, embeddingModel, limit, vectorWeight = 1, filter }: Search) =>
      statementFor(embeddingModel, embedding.width, filter !== undefined).execute({
        owner,
        text: text.slice(0, longestText),
        limit,
        vectorWeight,
        embedding: embedding.json,
        filter: JSON.stringify(filter),
        ...constants,
      }),
  }
}

/** The search as text and the names of its parameters in their order: for the benchmark's client without Drizzle. */
export function describeSearch(model: string, width: number) {
  const { sql: text, params } = buildSearch(drizzle.mock(), model, width, false).toSQL()
  return { text, names: params.map((param) => (is(param, Placeholder) ? param.name : '')), constants }
}

function prepareSearch(db: Db, model: string, width: number, isFiltered: boolean) {
  return buildSearch(db, model, width, isFiltered).prepare('search_passages')
}

function buildSearch(db: Db, model: string, width: number, isFiltered: boolean) {
  const filter = isFiltered ? fitsFilter(db) : undefined
  const nearest = selectNearest(db, model, width, filter)
  // + 0, because the index gives them almost in order, and Postgres would believe that it is one.
  const vectorRank = sql<number | null>`row_number() over (order by ${nearest.distance} + 0, ${nearest.id})`.mapWith(
    Number,
  )
  const byVector = db
    .$with('by_vector')
    .as(
      db
        .select({ id: nearest.id, vectorDistance: nearest.distance, vectorRank: vectorRank.as('vector_rank') })
        .from(nearest),
    )
  const byText = db
    .$with('by_text', {
      id: sql<string>`matching_id`.as('matching_id'),
      textScore: sql<number | null>`text_score`.as('text_score'),
      textRank: sql<number | null>`text_rank`.mapWith(Number).as('text_rank'),
    })
    .as(selectMatching(legSize, filter))

  const vectorWeight = sql`${placeholder('vectorWeight')}::float8`
  const score = sql<number>`${vectorWeight} * ${reciprocal(byVector.vectorRank)} + ${reciprocal(byText.textRank)}`
  return db
    .with(byVector, byText)
    .select({
      chunkId: chunks.id,
      documentId: chunks.documentId,
      title: documents.title,
      heading: chunks.heading,
      text: chunks.content,
      start: chunks.start,
      end: chunks.end,
      page: chunks.page,
      score: score.as('score'),
      // Where each leg has it, from 1; null where it does not.
      vectorRank: byVector.vectorRank,
      vectorDistance: byVector.vectorDistance,
      textRank: byText.textRank,
      textScore: byText.textScore,
    })
    .from(byVector)
    .fullJoin(byText, eq(byText.id, byVector.id))
    .innerJoin(chunks, eq(chunks.id, sql`coalesce(${byVector.id}, ${byText.id})`))
    .innerJoin(documents, eq(documents.id, chunks.documentId))
    .where(isPlannedAnew)
    .orderBy(sql`score desc`, asc(chunks.id))
    .limit(placeholder('limit'))
}

/** Inside each leg, so that what does not fit takes no place. */
function fitsFilter(db: Db): SQL {
  const fits = and(
    eq(documents.ownerId, placeholder('owner')),
    sql`${documents.metadata} @> ${placeholder('filter')}::jsonb`,
  )
  return inArray(chunks.documentId, db.select({ id: documents.id }).from(documents).where(fits))
}

/**
 * The model's name and the width are literals, as in the partial index that `db:migrate` makes for each model: a cast
 * takes no parameter for its width.
 */
function selectNearest(db: Db, model: string, width: number, filter: SQL | undefined) {
  const vector = sql.raw(`halfvec(${width})`)
  const distance = sql<number | null>`(${chunks.embedding}::${vector} <=> ${placeholder('embedding')}::${vector})`
  return db
    .select({ id: chunks.id, distance: distance.as('distance') })
    .from(chunks)
    .where(and(isOwned, sql`${chunks.embeddingModel} = ${sql.raw(quoteLiteral(model))}`, filter))
    .orderBy(sql`distance`)
    .limit(placeholder('legSize'))
    .as('nearest')
}

function reciprocal(rank: SQLWrapper) {
  return sql`coalesce(1::float8 / (${sql.raw(String(fusionConstant))} + ${rank}), 0)`
}

/** A literal for SQL text that must not be a parameter. `standard_conforming_strings` is on since PostgreSQL 9.1. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
