import { and, type Column, eq, inArray, ne, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { chunks, documents, uploads } from './schema.ts'
import type { Tokenizer } from './terms.ts'

export type NewChunk = {
  heading: string
  content: string
  start: number
  end: number
  page?: number
  embedding: number[]
}

/** One version of a document's content. Work for it stops once it is replaced or the document is deleted. */
export type DocumentVersion = { id: string; version: string }

/**
 * The content that a document's chunks are cut from. `pages` contains the offset in `text` of each page, `warnings` what
 * the reader left out.
 */
export type DocumentContent = { title: string; text: string; pages: number[] | null; warnings?: string[] }

export const isDocument = (owner: string, id: string) => and(eq(documents.ownerId, owner), eq(documents.id, id))
/** Whether rows belong to an owner, or to the organization that shares its documents with the owner. */
export const isReadableBy = (ownerId: Column, owner: string, organization?: string) =>
  inArray(ownerId, organization ? [owner, organization] : [owner])
export const isInProgress = (owner: string, { id, version }: DocumentVersion) =>
  and(isDocument(owner, id), eq(documents.version, version), ne(documents.status, 'ready'))

type Options = { db: Db; tokenizer: Tokenizer }

/** Chunks per statement. Inserting one into the vector index takes 2 to 5 ms, and a statement may take 10 s. */
const batchSize = 100

/**
 * Replaces a document's chunks and marks it as ready, in one transaction, so that a search never sees half a document.
 * The row lock makes a second worker wait, and then find the document ready.
 */
export async function addChunks(
  { db, tokenizer }: Options,
  owner: string,
  id: string,
  model: string,
  newChunks: NewChunk[],
  { version, ...content }: Partial<DocumentContent & { version: string }> = {},
) {
  await db.transaction(async (tx) => {
    const found = await tx
      .update(documents)
      .set({ ...content, status: 'ready', progress: 1, error: null })
      .where(version ? isInProgress(owner, { id, version }) : isDocument(owner, id))
      .returning({ id: documents.id })
    if (found.length === 0) return
    await tx.delete(uploads).where(eq(uploads.documentId, id))
    await tx.delete(chunks).where(eq(chunks.documentId, id))
    await insertChunks({ db: tx, tokenizer }, owner, id, model, newChunks)
  })
}

/**
 * Replaces a document's chunks of one model, and keeps those of other models. Returns false if the content has changed.
 * The row lock prevents changes to the content until the end of the transaction.
 */
export async function addChunksForModel(
  { db, tokenizer }: Options,
  owner: string,
  id: string,
  model: string,
  newChunks: NewChunk[],
  { title, text }: DocumentContent,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const found = await tx
      .select({ id: documents.id })
      .from(documents)
      .where(and(isDocument(owner, id), eq(documents.title, title), eq(documents.text, text)))
      .for('update')
    if (found.length === 0) return false
    await tx.delete(chunks).where(and(eq(chunks.documentId, id), eq(chunks.embeddingModel, model)))
    await insertChunks({ db: tx, tokenizer }, owner, id, model, newChunks)
    return true
  })
}

async function insertChunks(
  { db, tokenizer }: { db: Pick<Db, 'execute'>; tokenizer: Tokenizer },
  owner: string,
  id: string,
  model: string,
  newChunks: NewChunk[],
) {
  for (let start = 0; start < newChunks.length; start += batchSize) {
    const rows = newChunks.slice(start, start + batchSize).map((chunk) => ({
      ...chunk,
      ...tokenizer.indexTerms(owner, `${chunk.heading} ${chunk.content}`),
      embedding: JSON.stringify(chunk.embedding),
    }))
    await db.execute(sql`
      insert into ${chunks}
        (owner_id, document_id, heading, content, start, "end", page, embedding_model, embedding, terms, weights, tokenizer)
      select ${owner}::uuid, ${id}::uuid, heading, content, start, "end", page, ${model}, embedding, terms, weights,
        ${tokenizer.version}
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as chunk(
        heading text, content text, start int, "end" int, page int, embedding halfvec, terms int[], weights sparsevec)`)
  }
}
