import { and, asc, desc, eq, type SQLWrapper, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { chunks, documents } from './schema.ts'

export type Search = { text: string; embedding: number[]; embeddingModel: string; limit: number }

const { placeholder } = sql
const isOwned = eq(chunks.ownerId, placeholder('owner'))
/** How many candidates each leg gives to the fusion. */
const legSize = 50
/** Damps the lead of a leg's first ranks; 60 is the constant of the paper that introduced the method (Cormack 2009). */
const fusionConstant = 60
/** Characters of a question whose words are looked up; the stack of Postgres holds no query of 20,000 words. */
const longestText = 4000

/** Hybrid search over an owner's chunks. */
export function createPassages(db: Db) {
  const statements = new Map<string, ReturnType<typeof prepareSearch>>()
  const statementFor = (model: string, width: number) => {
    const key = `${width} ${model}`
    const statement = statements.get(key) ?? prepareSearch(db, model, width)
    statements.set(key, statement)
    return statement
  }
  return {
    /** The best chunks for a question, best first: nearest vectors and matching words, fused by reciprocal rank. */
    search: (owner: string, { text, embedding, embeddingModel, limit }: Search) =>
      statementFor(embeddingModel, embedding.length).execute({
        owner,
        text: text.slice(0, longestText),
        limit,
        embedding: JSON.stringify(embedding),
      }),
  }
}

function prepareSearch(db: Db, model: string, width: number) {
  const nearest = selectNearest(db, model, width)
  const byVector = db
    .$with('by_vector')
    .as(db.select({ id: nearest.id, rank: rankBy(nearest.distance).as('vector_rank') }).from(nearest))
  const matching = selectMatching(db)
  const byText = db
    .$with('by_text')
    .as(db.select({ id: matching.id, rank: rankBy(sql`${matching.weight} desc`).as('text_rank') }).from(matching))

  const score = sql<number>`${reciprocal(byVector.rank)} + ${reciprocal(byText.rank)}`.mapWith(Number)
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
    })
    .from(byVector)
    .fullJoin(byText, eq(byText.id, byVector.id))
    .innerJoin(chunks, eq(chunks.id, sql`coalesce(${byVector.id}, ${byText.id})`))
    .innerJoin(documents, eq(documents.id, chunks.documentId))
    .orderBy(desc(score), asc(chunks.id))
    .limit(placeholder('limit'))
    .prepare('search_passages')
}

/**
 * The model's name and the width are literals, as in the partial index that `db:migrate` makes for each model:
 * the generic plan of a prepared statement cannot know that a parameter fits an index's condition.
 */
function selectNearest(db: Db, model: string, width: number) {
  const vector = sql.raw(`halfvec(${width})`)
  const distance = sql<number>`(${chunks.embedding}::${vector} <=> ${placeholder('embedding')}::${vector})`
  return db
    .select({ id: chunks.id, distance: distance.as('distance') })
    .from(chunks)
    .where(and(isOwned, sql`${chunks.embeddingModel} = ${sql.raw(quoteLiteral(model))}`))
    .orderBy(distance)
    .limit(legSize)
    .as('nearest')
}

/** plainto_tsquery joins the words with AND, which finds almost nothing for a question: here any of them will do. */
function selectMatching(db: Db) {
  const query = sql`replace(plainto_tsquery('english', ${placeholder('text')})::text, ' & ', ' | ')::tsquery`
  const weight = sql<number>`ts_rank_cd(${chunks.search}, ${query})`
  return db
    .select({ id: chunks.id, weight: weight.as('weight') })
    .from(chunks)
    .where(and(isOwned, sql`${chunks.search} @@ ${query}`))
    .orderBy(desc(weight))
    .limit(legSize)
    .as('matching')
}

function rankBy(order: SQLWrapper) {
  return sql<number>`row_number() over (order by ${order})`
}

function reciprocal(rank: SQLWrapper) {
  return sql`coalesce(1.0 / (${sql.raw(String(fusionConstant))} + ${rank}), 0)`
}

/** A literal for SQL text that must not be a parameter. `standard_conforming_strings` is on since PostgreSQL 9.1. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
