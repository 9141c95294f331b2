import { and, eq, type SQL, type SQLWrapper, sql } from 'drizzle-orm'
import { type DocumentVersion, isDocument } from './chunks.ts'
import type { Db } from './client.ts'
import { type DocumentSummary, summary } from './document-summary.ts'
import { ingestQueue, sendJob } from './jobs.ts'
import { chunks, documents, type Metadata } from './schema.ts'
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

const withVersion = { ...summary, version: documents.version }

const isDue = sql`${documents.contentHash} <> excluded.content_hash or ${documents.status} = 'failed'`
const whenDue = (then: SQL, otherwise: SQLWrapper) => sql`case when ${isDue} then ${then} else ${otherwise} end`

/** Stores a document and its job, or what is new of it: see `documents.add`. */
export async function addDocument(
  db: Db,
  owner: string,
  { embeddingModel, externalId, title, contentHash, metadata, ...content }: NewDocument,
): Promise<DocumentSummary & DocumentVersion> {
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
