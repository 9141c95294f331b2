// Operators for an app's own queries come from here, so that only this package depends on drizzle-orm.
export { and, asc, desc, eq, gt, gte, inArray, isNull, lt, lte, ne, not, or, sql } from 'drizzle-orm'
export type { NewDocument } from './add-document.ts'
export type { AnswerEnd, AnswerKey, Position, Progress, StoredAnswer } from './answers.ts'
export type { DocumentContent, DocumentVersion, NewChunk } from './chunks.ts'
export { assertDriverPatched, connect, type Database, type DatabaseOptions, type Db } from './client.ts'
export type { ConversationSummary, Cursor, Feedback } from './conversations.ts'
export type { DocumentSummary } from './document-summary.ts'
export { assertNoConnectionHeld, ConnectionHeldError } from './driver/guard.ts'
export type { Pool } from './driver/semaphore.ts'
export { createEmbedders } from './embedders.ts'
export { ConflictError, type DatabaseFailure, describeDatabaseError, isOutage } from './errors.ts'
export { createFeedbackExport, type RatedAnswer } from './feedback.ts'
export type { NewFile } from './files.ts'
export type { PastMessage } from './history.ts'
export {
  countJobs,
  type DocumentJob,
  deadLetterQueue,
  type Executor,
  ingestQueue,
  type JobOptions,
  sendJob,
} from './jobs.ts'
export { createKeyring } from './keyring.ts'
export { createKey, hashSecret, type KeyOptions } from './keys.ts'
export type { LanguageName } from './languages.ts'
export {
  createUsageReport,
  type Days,
  type Spent,
  type SpentBy,
  type UsageCounts,
  type UsageRow,
} from './model-usage.ts'
export { createOwnerAdmin } from './owner-admin.ts'
export { localOwner, type Member, toOrganizationName } from './owners.ts'
export { dropParts, fromStored, joinText, measureParts, type Piece, type StoredMessage } from './parts.ts'
export * from './schema.ts'
export { createStore, type Store } from './store.ts'
export { createTermIndex } from './term-index.ts'
export { endsInHighSurrogate, hasVisibleText, toStorableJson, toStorableText } from './text.ts'
export type { StoredQuestion, Turn, WaitingAnswer } from './turns.ts'
export { partSize, type Upload, UploadGoneError } from './uploads.ts'
export type { Usage } from './usage.ts'
export { createUsageRecorder, type ModelCall, type UsageRecorder } from './usage-recorder.ts'
