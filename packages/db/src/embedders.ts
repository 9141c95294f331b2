import { and, asc, count, eq, exists, gt, inArray, ne, notExists, type SQL, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import type { Db } from './client.ts'
import { chunks, documents } from './schema.ts'

const other = alias(chunks, 'other')

/** Creates queries on stored embedding models across all owners. For the CLI only, so not part of the Store. */
export function createEmbedders(db: Db) {
  const hasChunks = (fits?: SQL) => db.select({ id: other.id }).from(other).where(and(isOfDocument, fits))
  const isOfDocument = sql`${other.documentId} = ${documents.id}`
  const isWithout = (model: string) =>
    and(exists(hasChunks()), notExists(hasChunks(sql`${other.embeddingModel} = ${model}`)))
  return {
    /** Counts documents by the embedding model of their chunks. `dimensions` is the width of its vectors. */
    countDocuments: () => countDocuments(db),

    /** Counts documents that have chunks, but none of this model. */
    countWithout: async (model: string): Promise<number> => {
      const [row] = await db.select({ documents: count() }).from(documents).where(isWithout(model))
      return row?.documents ?? 0
    },

    /** Returns at most `limit` of these documents, ordered by id, after the given one. */
    listWithout: (model: string, limit: number, after = '00000000-0000-0000-0000-000000000000') =>
      db
        .select({ owner: documents.ownerId, id: documents.id })
        .from(documents)
        .where(and(gt(documents.id, after), isWithout(model)))
        .orderBy(asc(documents.id))
        .limit(limit),

    /** Removes at most `limit` chunks of other models from documents that have chunks of this one. Returns how many. */
    removeOthers: async (model: string, limit: number): Promise<number> => {
      const hasOwn = sql`${other.documentId} = ${chunks.documentId} and ${other.embeddingModel} = ${model}`
      const superseded = db
        .select({ id: chunks.id })
        .from(chunks)
        .where(and(ne(chunks.embeddingModel, model), exists(db.select({ id: other.id }).from(other).where(hasOwn))))
        .limit(limit)
      return (await db.delete(chunks).where(inArray(chunks.id, superseded)).returning({ id: chunks.id })).length
    },
  }
}

function countDocuments(db: Db) {
  const one = db // one chunk per model, because all its chunks have the same width
    .selectDistinctOn([chunks.embeddingModel], { model: chunks.embeddingModel, embedding: chunks.embedding })
    .from(chunks)
    .where(eq(chunks.documentId, documents.id))
    .as('one')
  const dimensions = sql<number>`vector_dims(${one.embedding})`
  return db
    .select({ model: one.model, dimensions, documents: count() })
    .from(documents)
    .innerJoinLateral(one, sql`true`)
    .groupBy(one.model, dimensions)
    .orderBy(one.model, dimensions)
}
