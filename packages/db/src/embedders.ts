import { and, asc, count, eq, exists, gt, inArray, ne, notExists, type SQL, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import type { Db } from './client.ts'
import { chunks, documents } from './schema.ts'

const other = alias(chunks, 'other')

/** Which embedders the stored vectors are of, over all owners: for an operator's commands, and so not in the store. */
export function createEmbedders(db: Db) {
  const hasChunks = (fits?: SQL) => db.select({ id: other.id }).from(other).where(and(isOfDocument, fits))
  const isOfDocument = sql`${other.documentId} = ${documents.id}`
  const isWithout = (model: string) =>
    and(exists(hasChunks()), notExists(hasChunks(sql`${other.embeddingModel} = ${model}`)))
  return {
    /** How many documents have chunks of which embedder; `dimensions` is its vectors' width. */
    countDocuments: () => countDocuments(db),

    /** How many documents have chunks, but none of this model. */
    countWithout: async (model: string): Promise<number> => {
      const [row] = await db.select({ documents: count() }).from(documents).where(isWithout(model))
      return row?.documents ?? 0
    },

    /** Those documents, `limit` of them at most, in the order of their ids, from behind one of them. */
    listWithout: (model: string, limit: number, after = '00000000-0000-0000-0000-000000000000') =>
      db
        .select({ owner: documents.ownerId, id: documents.id })
        .from(documents)
        .where(and(gt(documents.id, after), isWithout(model)))
        .orderBy(asc(documents.id))
        .limit(limit),

    /** Removes chunks of other models, `limit` of them at most, of documents that have this one's, and says how many. */
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
  const one = db // of each model: its chunks are of one width
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
