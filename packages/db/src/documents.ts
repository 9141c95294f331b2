import { and, desc, eq, inArray, ne, type SQL, type SQLWrapper, sql } from 'drizzle-orm'
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
import { readText } from './document-text.ts'
import { asConflict } from './errors.ts'
import { ingestQueue, sendJob } from './jobs.ts'
import { chunks, type DocumentStatus, documents, type Metadata, uploads } from './schema.ts'
import type { Tokenizer } from './terms.ts'
import { attachUpload, storeUpload, type Tx } from './uploads.ts'

/** A text is plain or Markdown. A file is either in memory or already stored by `uploads`. */
export type NewDocument = {
  title: string
  contentHash: string
  /** Different content with the same name replaces the document. */
  externalId?: string | undefined
  /** Replaces the document's metadata at once. Unset: the metadata stays as it is. */
  metadata?: Metadata | undefined
  /** The current embedding model. A document that was embedded with another one is embedded again. */
  embeddingModel?: string
} & NewContent

/** An upload belongs to `uploadedBy`. Default: to the document's owner. */
type NewContent = { text: string } | { bytes: Buffer; mediaType: string } | { uploadId: string; uploadedBy?: string }

export type DocumentSummary = {
  id: string
  /** An owner, or the organization that the document is shared with. */
  ownerId: string
  externalId: string | null
  title: string
  metadata: Metadata
  status: DocumentStatus
  progress: number
  error: string | null
  warnings: string[]
  createdAt: Date
}

const summary = {
  id: documents.id,
  ownerId: documents.ownerId,
  externalId: documents.externalId,
  title: documents.title,
  metadata: documents.metadata,
  status: documents.status,
  progress: documents.progress,
  error: documents.error,
  warnings: documents.warnings,
  createdAt: documents.createdAt,
}

const content = {
  title: documents.title,
  text: documents.text,
  pages: documents.pages,
  warnings: documents.warnings,
}

const withVersion = { ...summary, version: documents.version }

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

const isDue = sql`${documents.contentHash} <> excluded.content_hash or ${documents.status} = 'failed'`
const whenDue = (then: SQL, otherwise: SQLWrapper) => sql`case when ${isDue} then ${then} else ${otherwise} end`

async function addDocument(
  db: Db,
  owner: string,
  { embeddingModel, externalId, title, contentHash, metadata, ...content }: NewDocument,
) {
  const version = crypto.randomUUID()
  return db.transaction(async (tx) => {
    const [added] = await tx
      .insert(documents)
      .values({ ownerId: owner, externalId, title, text: '', contentHash, metadata, status: 'queued', version })
      .onConflictDoUpdate({
        target: [documents.ownerId, documents.key],
        set: {
          version: whenDue(sql`excluded.version`, documents.version),
          status: whenDue(sql`'queued'`, documents.status),
          progress: whenDue(sql`0`, documents.progress),
          error: whenDue(sql`null`, documents.error),
          contentHash,
          ...(metadata && { metadata }),
        },
      })
      .returning(withVersion)
    if (!added) throw new Error('an upsert returned no row')
    if (added.version === version) await attachContent(tx, owner, added.id, title, content)
    const [renewed] = added.status === 'ready' && embeddingModel ? await renew(tx, owner, added.id, embeddingModel) : []
    const document = renewed ?? added
    // The id contains the version, so an existing job is not added again.
    if (document.status !== 'ready') {
      const job = { owner, documentId: document.id, version: document.version }
      await sendJob(tx, ingestQueue, job, document.version)
    }
    return document
  })
}

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

async function attachContent(tx: Tx, owner: string, documentId: string, title: string, content: NewContent) {
  if (!('uploadId' in content)) {
    const id = await storeContent(tx, owner, title, content)
    return attachUpload(tx, owner, { id, documentId, title })
  }
  const { uploadId: id, uploadedBy = owner } = content
  await attachUpload(tx, uploadedBy, { id, documentId, title })
}

function storeContent(tx: Tx, owner: string, title: string, content: Exclude<NewContent, { uploadId: string }>) {
  const file = 'text' in content ? { bytes: Buffer.from(content.text), mediaType: 'text/plain' } : content
  return storeUpload(tx, owner, { title, ...file })
}

/** A ready document without chunks of the current model is embedded again. */
function renew(tx: Pick<Db, 'update'>, owner: string, id: string, model: string) {
  const isOther = sql`exists (select from ${chunks} where ${chunks.documentId} = ${documents.id}) and not exists (
    select from ${chunks} where ${chunks.documentId} = ${documents.id} and ${chunks.embeddingModel} = ${model})`
  return tx
    .update(documents)
    .set({ status: 'queued', progress: 0, version: sql`gen_random_uuid()` })
    .where(and(isDocument(owner, id), eq(documents.status, 'ready'), isOther))
    .returning(withVersion)
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
