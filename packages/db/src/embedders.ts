import { count, eq, inArray, ne, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { ingestQueue, sendJobs } from './jobs.ts'
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

    /** How many documents wait to be embedded by this model in the place of another one. */
    countWaiting: async (model: string): Promise<number> => {
      const isWaiting = inArray(documents.status, ['queued', 'processing'])
      const [row] = await db
        .select({ waiting: count() })
        .from(documents)
        .innerJoinLateral(firstChunk, ne(firstChunk.model, model))
        .where(isWaiting)
      return row?.waiting ?? 0
    },

    /** Queues documents of other models, `limit` of them at most, to be embedded anew, and says how many. */
    requeue: (model: string, limit: number): Promise<number> =>
      db.transaction(async (tx) => {
        const others = tx
          .select({ id: documents.id })
          .from(documents)
          .innerJoinLateral(firstChunk, ne(firstChunk.model, model))
          .where(eq(documents.status, 'ready'))
          .limit(limit)
        const queued = await tx
          .update(documents)
          .set({ status: 'queued', progress: 0, version: sql`gen_random_uuid()` })
          .where(inArray(documents.id, others))
          .returning({ owner: documents.ownerId, documentId: documents.id, version: documents.version })
        await sendJobs(
          tx,
          ingestQueue,
          queued.map((data) => ({ id: data.version, data })),
        )
        return queued.length
      }),
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
