import { and, desc, eq, inArray, ne, sql } from 'drizzle-orm'
import { addDocument, type NewDocument } from './add-document.ts'
import {
  addChunks,
  addChunksForModel,
  type DocumentContent,
  type DocumentVersion,
  isDocument,
  isInProgress,
  isReadableBy,
  type NewChunk,
} from './chunks.ts'
import type { Db } from './client.ts'
import type { Cursor } from './conversations.ts'
import { type DocumentSummary, summary } from './document-summary.ts'
import { readText } from './document-text.ts'
import { asConflict } from './errors.ts'
import { ingestQueue, sendJob } from './jobs.ts'
import { chunks, type DocumentStatus, documents, uploads } from './schema.ts'
import type { Tokenizer } from './terms.ts'

const content = {
  title: documents.title,
  text: documents.text,
  pages: documents.pages,
  warnings: documents.warnings,
}

/** Stores an owner's documents and their chunks. */
export function createDocuments(db: Db, tokenizer: Tokenizer) {
  const update = (owner: string, document: DocumentVersion, set: { status?: DocumentStatus } & Partial<Progress>) =>
    db.update(documents).set(set).where(isInProgress(owner, document)).returning({ id: documents.id })
  return {
    /**
     * Stores the posted content together with its ingestion job. Posting the same content twice creates one document.
     */
    add: (owner: string, document: NewDocument): Promise<DocumentSummary & DocumentVersion> =>
      addDocument(db, owner, document),

    /** Marks a document as processing and returns its content, and the posted content if it is not ingested yet. */
    begin: (owner: string, document: DocumentVersion) => beginDocument(db, owner, document),

    /** `progress` is the completed fraction, from 0 to 1. */
    recordProgress: async (owner: string, document: DocumentVersion, progress: number): Promise<boolean> =>
      (await update(owner, document, { progress })).length > 0,

    /** Puts a document back in the queue, with a reason for users if the last attempt failed. */
    postpone: async (owner: string, document: DocumentVersion, error: string | null): Promise<boolean> =>
      (await update(owner, document, { status: 'queued', progress: 0, error })).length > 0,

    /**
     * Replaces all chunks and the content that they are cut from, and marks the document as ready, in one transaction.
     * Does nothing if the document is gone or has newer content.
     */
    addChunks: (
      owner: string,
      id: string,
      model: string,
      newChunks: NewChunk[],
      content?: DocumentContent & { version: string },
    ) => addChunks({ db, tokenizer }, owner, id, model, newChunks, content),

    /**
     * Returns the searchable content of a document, even while newer content is queued. Returns nothing if it has none.
     */
    readContent: async (owner: string, id: string): Promise<DocumentContent | undefined> =>
      (
        await db
          .select(content)
          .from(documents)
          .where(and(isDocument(owner, id), ne(documents.text, '')))
      ).at(0),

    /**
     * Stores the chunks of one more model beside those of others, so that a search with either model has its own
     * vectors. Returns false and stores nothing if the document is gone or its content has changed.
     */
    addChunksForModel: (owner: string, id: string, model: string, newChunks: NewChunk[], content: DocumentContent) =>
      addChunksForModel({ db, tokenizer }, owner, id, model, newChunks, content),

    /**
     * Marks a document as failed, with a reason for users: that of the last attempt, otherwise `error`. Its older
     * content stays searchable. If no newer content was posted, the document stays ready.
     */
    fail: (owner: string, document: DocumentVersion, error: string): Promise<boolean> =>
      failDocument(db, owner, document, error),

    /** Returns the newest documents of the owner and the organization. */
    list: (owner: string, limit: number, after?: Cursor, organization?: string) =>
      listDocuments(db, organization ? `{${owner},${organization}}` : `{${owner}}`, limit, after),

    /** Returns a document of the owner or the organization. */
    find: async (owner: string, id: string, organization?: string): Promise<DocumentSummary | undefined> =>
      (
        await db
          .select(summary)
          .from(documents)
          .where(and(eq(documents.id, id), isReadableBy(documents.ownerId, owner, organization)))
      ).at(0),

    /**
     * Returns a part of the text of a document of the owner or the organization, in UTF-16 units like the offsets of
     * chunks and sources. `length` is that of the whole text.
     */
    readText: (owner: string, id: string, part: { start: number; end: number }, organization?: string) =>
      readText(db, owner, id, part, organization),

    /**
     * Gives a document to another owner, such as an organization. Its chunks are removed and its content is ingested
     * again, because terms are stored per owner. Returns undefined if `owner` has no such document. Throws
     * `ConflictError` if the other owner has a document with the same name or content.
     */
    move: (owner: string, id: string, to: string): Promise<DocumentSummary | undefined> =>
      moveDocument(db, owner, id, to),

    /** Deletes a document and its chunks. Returns whether it existed. */
    remove: async (owner: string, id: string): Promise<boolean> =>
      (await db.delete(documents).where(isDocument(owner, id)).returning({ id: documents.id })).length > 0,
  }
}

type Progress = { progress: number; error: string | null }

function moveDocument(db: Db, owner: string, id: string, to: string) {
  const version = crypto.randomUUID()
  const moving = db.transaction(async (tx) => {
    const [moved] = await tx
      .update(documents)
      .set({ ownerId: to, status: 'queued', progress: 0, error: null, version })
      .where(isDocument(owner, id))
      .returning(summary)
    if (!moved) return undefined
    await tx.delete(chunks).where(eq(chunks.documentId, id))
    await sendJob(tx, ingestQueue, { owner: to, documentId: id, version }, version)
    return moved
  })
  return asConflict(moving)
}

const newest: Cursor = { time: 'infinity', id: '00000000-0000-0000-0000-000000000000' }

/** Reads at most `limit` rows of each owner from the index. */
function listDocuments(db: Db, owners: string, limit: number, after = newest) {
  const newestOfEach = sql`(
    select found.id from unnest(${owners}::uuid[]) as reader, lateral (
      select id from documents
      where owner_id = reader and (created_at, id) < (${after.time}::timestamptz, ${after.id}::uuid)
      order by created_at desc, id desc limit ${limit}) as found)`
  return db
    .select(summary)
    .from(documents)
    .where(inArray(documents.id, newestOfEach))
    .orderBy(desc(documents.createdAt), desc(documents.id))
    .limit(limit)
}

async function beginDocument(db: Db, owner: string, document: DocumentVersion) {
  const [begun] = await db
    .update(documents)
    .set({ status: 'processing', progress: 0, error: null })
    .where(isInProgress(owner, document))
    .returning(content)
  if (!begun) return undefined
  const [upload] = await db
    .select({
      id: uploads.id,
      uploadedBy: uploads.ownerId,
      title: uploads.title,
      mediaType: uploads.mediaType,
      size: uploads.size,
    })
    .from(uploads)
    .where(eq(uploads.documentId, document.id))
  return { content: begun, upload }
}

async function failDocument(db: Db, owner: string, document: DocumentVersion, error: string): Promise<boolean> {
  const isWithout = sql`exists (select from ${uploads} where ${uploads.documentId} = ${documents.id})
    or not exists (select from ${chunks} where ${chunks.documentId} = ${documents.id})`
  return db.transaction(async (tx) => {
    const found = await tx
      .update(documents)
      .set({
        status: sql`case when ${isWithout} then 'failed' else 'ready' end`,
        progress: sql`case when ${isWithout} then ${documents.progress} else 1 end`,
        error: sql`case when ${isWithout} then coalesce(${documents.error}, ${error}) end`,
      })
      .where(isInProgress(owner, document))
      .returning({ id: documents.id })
    if (found.length > 0) await tx.delete(uploads).where(eq(uploads.documentId, document.id))
    return found.length > 0
  })
}
