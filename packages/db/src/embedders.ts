import { asc, count, eq, gt, ne, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { chunks, documents } from './schema.ts'

/** Which embedders the stored vectors are of, over all owners: for an operator's commands, and so not in the store. */
export function createEmbedders(db: Db) {
  const firstChunk = selectFirstChunk(db)
  return {
    /** How many documents are of which embedder; `dimensions` is its vectors' width. */
    countDocuments: () =>
      db
        .select({ model: firstChunk.model, dimensions: firstChunk.dimensions, documents: count() })
        .from(documents)
        .innerJoinLateral(firstChunk, sql`true`)
        .groupBy(firstChunk.model, firstChunk.dimensions)
        .orderBy(firstChunk.model, firstChunk.dimensions),

    /** The first document by id, after `after`, whose chunks are of another model. One at a time: a text may be long. */
    findOther: async (model: string, after = '00000000-0000-0000-0000-000000000000') =>
      (
        await db
          .select({ owner: documents.ownerId, id: documents.id, title: documents.title, text: documents.text })
          .from(documents)
          .innerJoinLateral(firstChunk, ne(firstChunk.model, model))
          .where(gt(documents.id, after))
          .orderBy(asc(documents.id))
          .limit(1)
      ).at(0),
  }
}

/** Speaks for all chunks of a document: they are of one model. */
function selectFirstChunk(db: Db) {
  return db
    .select({
      model: chunks.embeddingModel,
      dimensions: sql<number>`vector_dims(${chunks.embedding})`.as('dimensions'),
    })
    .from(chunks)
    .where(eq(chunks.documentId, documents.id))
    .limit(1)
    .as('first_chunk')
}
