import { and, desc, eq, ne, type SQL, type SQLWrapper, sql } from 'drizzle-orm'
import {
  addChunks,
  addChunksForModel,
  type DocumentContent,
  type DocumentVersion,
  isDocument,
  isInProgress,
  type NewChunk,
} from './chunks.ts'
import type { Db } from './client.ts'
import type { Cursor } from './conversations.ts'
import { ingestQueue, sendJob } from './jobs.ts'
import { chunks, type DocumentStatus, documents, type Metadata, uploads } from './schema.ts'
import { attachUpload, storeUpload, type Tx } from './uploads.ts'

/** A text is plain or Markdown. A file is either in memory or already stored by `uploads`. */
export type NewDocument = {
  title: string
  contentHash: string
  /** Other content that comes under the same name takes the document's place. */
  externalId?: string | undefined
  /** Takes the place of the document's older one at once. Left out: it has what it had. */
  metadata?: Metadata | undefined
  /** The one in use: a document that another one embedded is embedded anew. */
  embeddingModel?: string
} & NewContent

type NewContent = { text: string } | { bytes: Buffer; mediaType: string } | { uploadId: string }

export type DocumentSummary = {
  id: string
  externalId: string | null
  title: string
  metadata: Metadata
  status: DocumentStatus
  progress: number
  error: string | null
  createdAt: Date
}

const summary = {
  id: documents.id,
  externalId: documents.externalId,
  title: documents.title,
  metadata: documents.metadata,
  status: documents.status,
  progress: documents.progress,
  error: documents.error,
  createdAt: documents.createdAt,
}

const content = { title: documents.title, text: documents.text, pages: documents.pages }

const withVersion = { ...summary, version: documents.version }

/** An owner's documents and their chunks. */
export function createDocuments(db: Db) {
  const update = (owner: string, document: DocumentVersion, set: { status?: DocumentStatus } & Partial<Progress>) =>
    db.update(documents).set(set).where(isInProgress(owner, document)).returning({ id: documents.id })
  return {
    /** Stores what was posted and a job that makes it ready, at once. The same content twice is one document. */
    add: (owner: string, document: NewDocument): Promise<DocumentSummary & DocumentVersion> =>
      addDocument(db, owner, document),

    /** Marks a document as processing and gives its content, and what was posted when that is not its content yet. */
    begin: (owner: string, document: DocumentVersion) => beginDocument(db, owner, document),

    /** `progress` is the part that is done, from 0 to 1. */
    noteProgress: async (owner: string, document: DocumentVersion, progress: number): Promise<boolean> =>
      (await update(owner, document, { progress })).length > 0,

    /** Puts a document back in the queue, with the reason for its reader why the last try failed, if there is one. */
    postpone: async (owner: string, document: DocumentVersion, error: string | null): Promise<boolean> =>
      (await update(owner, document, { status: 'queued', progress: 0, error })).length > 0,

    /**
     * Stores the chunks in the place of all that it has, with the content that they are cut from, and makes the document
     * ready, at once. Does nothing when the document is gone or has newer content than this.
     */
    addChunks: (
      owner: string,
      id: string,
      model: string,
      newChunks: NewChunk[],
      content?: DocumentContent & { version: string },
    ) => addChunks(db, owner, id, model, newChunks, content),

    /** What the search holds of a document, also while newer content waits; nothing while it holds none. */
    readContent: async (owner: string, id: string): Promise<DocumentContent | undefined> =>
      (
        await db
          .select(content)
          .from(documents)
          .where(and(isDocument(owner, id), ne(documents.text, '')))
      ).at(0),

    /**
     * Stores the chunks of one more model beside those of others, so that a search by either has vectors of its own. False,
     * and nothing is done, when the document is gone, or its content is not any more what they are cut from.
     */
    addChunksForModel: (owner: string, id: string, model: string, newChunks: NewChunk[], content: DocumentContent) =>
      addChunksForModel(db, owner, id, model, newChunks, content),

    /**
     * Marks a document as failed, with a reason for its reader: that of the last try, or else `error`. What its older content put into the search stays there;
     * where there is no newer one, the document is as ready as it was.
     */
    fail: (owner: string, document: DocumentVersion, error: string): Promise<boolean> =>
      failDocument(db, owner, document, error),

    list: (owner: string, limit: number, after?: Cursor) => listDocuments(db, owner, limit, after),

    find: async (owner: string, id: string): Promise<DocumentSummary | undefined> =>
      (await db.select(summary).from(documents).where(isDocument(owner, id))).at(0),

    /** A part of the text, as chunks and sources name parts: in UTF-16 units. `length` is that of the whole text. */
    readText: (owner: string, id: string, part: { start: number; end: number }) => readText(db, owner, id, part),

    /** True when there was one. Its chunks go with it. */
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
    // Its id is the version: a job that is there already is not added again.
    if (document.status !== 'ready') {
      const job = { owner, documentId: document.id, version: document.version }
      await sendJob(tx, ingestQueue, job, document.version)
    }
    return document
  })
}

async function attachContent(tx: Tx, owner: string, documentId: string, title: string, content: NewContent) {
  const uploadId = 'uploadId' in content ? content.uploadId : await storeContent(tx, owner, title, content)
  await attachUpload(tx, owner, { id: uploadId, documentId, title })
}

function storeContent(tx: Tx, owner: string, title: string, content: Exclude<NewContent, { uploadId: string }>) {
  const file = 'text' in content ? { bytes: Buffer.from(content.text), mediaType: 'text/plain' } : content
  return storeUpload(tx, owner, { title, ...file })
}

/** A ready document that only other models embedded is embedded anew. */
function renew(tx: Pick<Db, 'update'>, owner: string, id: string, model: string) {
  const isOther = sql`exists (select from ${chunks} where ${chunks.documentId} = ${documents.id}) and not exists (
    select from ${chunks} where ${chunks.documentId} = ${documents.id} and ${chunks.embeddingModel} = ${model})`
  return tx
    .update(documents)
    .set({ status: 'queued', progress: 0, version: sql`gen_random_uuid()` })
    .where(and(isDocument(owner, id), eq(documents.status, 'ready'), isOther))
    .returning(withVersion)
}

const pieceLength = 100_000 // code points; Postgres walks the text from its start to each piece

/**
 * Postgres counts code points and knows no UTF-16: pieces of the text are measured there, and the few that hold the part
 * travel, to be cut here. The whole text of a book would hold up the event loop of its reader.
 */
async function readText(db: Db, owner: string, id: string, { start, end }: { start: number; end: number }) {
  const isWanted = sql`piece.start < ${end} and piece.start + piece.units > ${start}`
  const [row] = await db.execute<{ title: string; text: string; start: number; length: number }>(sql`
    with document as materialized (select title, text || '' as text from ${documents} where ${isDocument(owner, id)}),
    piece as (
      select number, part, units, sum(units) over (order by number) - units as start
      from document, generate_series(0, (length(document.text) - 1) / ${pieceLength}) as number,
        substring(document.text from number * ${pieceLength} + 1 for ${pieceLength}) as part,
        lateral (select length(part) + regexp_count(part, '[\\U00010000-\\U0010FFFF]') as units) as measured
    )
    select document.title, coalesce(string_agg(piece.part, '' order by piece.number) filter (where ${isWanted}), '') as text,
      coalesce(min(piece.start) filter (where ${isWanted}), 0)::int as start,
      coalesce(sum(piece.units), 0)::int as length
    from document left join piece on true group by document.title`)
  return (
    row && {
      title: row.title,
      length: row.length,
      text: row.text.slice(Math.max(0, start - row.start), Math.max(0, end - row.start)),
    }
  )
}

const newest: Cursor = { time: 'infinity', id: '00000000-0000-0000-0000-000000000000' }

function listDocuments(db: Db, owner: string, limit: number, after = newest) {
  const isOlder = sql`(${documents.createdAt}, ${documents.id}) < (${after.time}::timestamptz, ${after.id}::uuid)`
  return db
    .select(summary)
    .from(documents)
    .where(and(eq(documents.ownerId, owner), isOlder))
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
    .select({ id: uploads.id, title: uploads.title, mediaType: uploads.mediaType, size: uploads.size })
    .from(uploads)
    .where(and(eq(uploads.ownerId, owner), eq(uploads.documentId, document.id)))
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
