import { type DocumentStatus, documents, type Metadata } from './schema.ts'

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

/** The columns of a document without its text. */
export const summary = {
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
