import { and, desc, eq, ne, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import type { Cursor } from './conversations.ts'
import { chunks, type DocumentStatus, documents } from './schema.ts'

export type NewDocument = { title: string; text: string; contentHash: string }

export type NewChunk = {
  heading: string
  content: string
  start: number
  end: number
  page?: number
  embedding: number[]
}

export type DocumentSummary = {
  id: string
  title: string
  status: DocumentStatus
  error: string | null
  createdAt: Date
}

const summary = {
  id: documents.id,
  title: documents.title,
  status: documents.status,
  error: documents.error,
  createdAt: documents.createdAt,
}

/** Its chunks are of one model; null while it has none. */
const embeddingModel = sql<string | null>`(
  select ${chunks.embeddingModel} from ${chunks} where ${chunks.documentId} = ${documents.id} limit 1)`

/** An owner's documents and their chunks. */
export function createDocuments(db: Db) {
  const isDocument = (owner: string, id: string) => and(eq(documents.ownerId, owner), eq(documents.id, id))
  return {
    /**
     * Stores a document as `processing`. The same content twice is one document: then the stored one is given, with the
     * model that its chunks were embedded by.
     */
    add: async (owner: string, document: NewDocument): Promise<DocumentSummary & { embeddingModel: string | null }> => {
      const [row] = await db
        .insert(documents)
        .values({ ownerId: owner, ...document, status: 'processing' })
        // An update that changes nothing: only a touched row is returned.
        .onConflictDoUpdate({ target: [documents.ownerId, documents.contentHash], set: { ownerId: owner } })
        .returning({ ...summary, embeddingModel })
      if (!row) throw new Error('an upsert returned no row')
      return row
    },

    /**
     * Stores the chunks, in the place of those of another model, and makes the document ready, at once. Does nothing when
     * it has chunks of this model, or is gone.
     */
    addChunks: (owner: string, id: string, model: string, newChunks: NewChunk[]) =>
      addChunks(db, owner, id, model, newChunks),

    /** Marks a document as failed, with a reason for its reader. One that is ready stays so, and nothing is given. */
    fail: async (owner: string, id: string, error: string): Promise<DocumentSummary | undefined> =>
      (
        await db
          .update(documents)
          .set({ status: 'failed', error })
          .where(and(isDocument(owner, id), ne(documents.status, 'ready')))
          .returning(summary)
      ).at(0),

    list: (
      owner: string,
      limit: number,
      after: Cursor = { time: 'infinity', id: '00000000-0000-0000-0000-000000000000' },
    ) =>
      db
        .select(summary)
        .from(documents)
        .where(
          and(
            eq(documents.ownerId, owner),
            sql`(${documents.createdAt}, ${documents.id}) < (${after.time}::timestamptz, ${after.id}::uuid)`,
          ),
        )
        .orderBy(desc(documents.createdAt), desc(documents.id))
        .limit(limit),

    find: async (owner: string, id: string): Promise<DocumentSummary | undefined> =>
      (await db.select(summary).from(documents).where(isDocument(owner, id))).at(0),

    /** The whole text, of which chunks and sources name parts. */
    readText: async (owner: string, id: string): Promise<{ title: string; text: string } | undefined> =>
      (
        await db.select({ title: documents.title, text: documents.text }).from(documents).where(isDocument(owner, id))
      ).at(0),

    /** True when there was one. Its chunks go with it. */
    remove: async (owner: string, id: string): Promise<boolean> =>
      (await db.delete(documents).where(isDocument(owner, id)).returning({ id: documents.id })).length > 0,
  }
}

/** Chunks a statement: each is an insertion into the vectors' index, 2 to 5 ms of work, and a statement has 10 s. */
const batchSize = 100

/**
 * One transaction, so that a search never sees half a document. The lock on the document's row makes a second ingestion
 * wait and find the chunks there.
 */
async function addChunks(db: Db, owner: string, id: string, model: string, newChunks: NewChunk[]) {
  await db.transaction(async (tx) => {
    const isDocument = and(eq(documents.ownerId, owner), eq(documents.id, id))
    const found = await tx
      .update(documents)
      .set({ status: 'ready', error: null })
      .where(isDocument)
      .returning({ id: documents.id })
    if (found.length === 0) return
    await tx.delete(chunks).where(and(eq(chunks.documentId, id), ne(chunks.embeddingModel, model)))
    const stored = await tx.select({ id: chunks.id }).from(chunks).where(eq(chunks.documentId, id)).limit(1)
    if (stored.length > 0) return
    for (let start = 0; start < newChunks.length; start += batchSize) {
      const rows = newChunks.slice(start, start + batchSize)
      const json = JSON.stringify(rows.map((chunk) => ({ ...chunk, embedding: JSON.stringify(chunk.embedding) })))
      await tx.execute(sql`
        insert into ${chunks} (owner_id, document_id, heading, content, start, "end", page, embedding_model, embedding)
        select ${owner}::uuid, ${id}::uuid, heading, content, start, "end", page, ${model}, embedding
        from jsonb_to_recordset(${json}::jsonb)
          as chunk(heading text, content text, start int, "end" int, page int, embedding halfvec)`)
    }
  })
}
