import { type SQL, type SQLWrapper, sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  customType,
  foreignKey,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  real,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'

/** A vector of any width: the width and the model belong to the row, so one table serves every embedder. */
const halfvec = customType<{ data: number[]; driverData: string }>({
  dataType: () => 'halfvec',
  toDriver: (vector) => JSON.stringify(vector),
  fromDriver: (text) => JSON.parse(text),
})

const tsvector = customType<{ data: string }>({ dataType: () => 'tsvector' })
const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })

// Three digits, because a JavaScript Date holds no more: a cursor made from one must find its row again.
const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 })
const createdAt = () => time('created_at').notNull().defaultNow()

/** Everything else belongs to one of these. */
export const owners = pgTable('owners', {
  id: uuid('id').primaryKey().defaultRandom(),
  name: text('name').notNull().unique(),
  createdAt: createdAt(),
})

const ownerId = () =>
  uuid('owner_id')
    .notNull()
    .references(() => owners.id, { onDelete: 'cascade' })

/** A key is `sl_<id>_<secret>`; only the secret's SHA-256 is stored. */
export const apiKeys = pgTable('api_keys', {
  id: text('id').primaryKey(),
  ownerId: ownerId(),
  secretHash: text('secret_hash').notNull(),
  createdAt: createdAt(),
  /** To the minute: it is written in batches. */
  lastUsedAt: time('last_used_at'),
  revokedAt: time('revoked_at'),
})

/** What each API process has let an owner do, so that limits hold for all of them together. */
export const usage = pgTable(
  'usage',
  {
    ownerId: ownerId(),
    processId: uuid('process_id').notNull(),
    /** The start of the minute in which `requests` were counted. */
    minute: time('minute').notNull(),
    requests: integer('requests').notNull(),
    /** Answers that stream now. They count for as long as the row is fresh: its process may have died. */
    streams: integer('streams').notNull(),
    updatedAt: time('updated_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ name: 'usage_key', columns: [table.ownerId, table.processId] })],
)

/** Keyed by owner and id, because clients choose conversation ids and two owners may choose the same. */
export const conversations = pgTable(
  'conversations',
  {
    ownerId: ownerId(),
    id: text('id').notNull(),
    title: text('title').notNull(),
    createdAt: createdAt(),
    updatedAt: time('updated_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ name: 'conversations_key', columns: [table.ownerId, table.id] }),
    index('conversations_newest').on(table.ownerId, table.updatedAt, table.id),
  ],
)

export type MessageRole = 'user' | 'assistant'
export type MessageStatus = 'streaming' | 'complete' | 'stopped' | 'interrupted' | 'failed'

/** A passage that an answer was given, as its `[n]` refers to it. Offsets count UTF-16 units of the document's text. */
export type Source = {
  n: number
  documentId: string
  chunkId: string
  title: string
  start: number
  end: number
  page?: number
}

export const messages = pgTable(
  'messages',
  {
    ownerId: uuid('owner_id').notNull(),
    conversationId: text('conversation_id').notNull(),
    id: text('id').notNull(),
    /** Orders the messages of a conversation; two of one statement share their `created_at`. */
    position: bigint('position', { mode: 'number' }).generatedAlwaysAsIdentity(),
    role: text('role').$type<MessageRole>().notNull(),
    content: text('content').notNull(),
    status: text('status').$type<MessageStatus>().notNull(),
    sources: jsonb('sources').$type<Source[]>().notNull().default([]),
    finishReason: text('finish_reason'),
    inputTokens: integer('input_tokens'),
    outputTokens: integer('output_tokens'),
    /** Why the answer failed, in a sentence for its reader. */
    error: text('error'),
    createdAt: createdAt(),
    /** When the process that writes this answer last said that it lives. */
    heartbeatAt: time('heartbeat_at').notNull().defaultNow(),
    /** Somebody has asked that process to stop it. */
    stopRequested: boolean('stop_requested').notNull().default(false),
  },
  (table) => [
    primaryKey({ name: 'messages_key', columns: [table.ownerId, table.conversationId, table.id] }),
    foreignKey({
      name: 'messages_conversation',
      columns: [table.ownerId, table.conversationId],
      foreignColumns: [conversations.ownerId, conversations.id],
    }).onDelete('cascade'),
    index('messages_in_order').on(table.ownerId, table.conversationId, table.position),
    uniqueIndex('messages_one_running_answer')
      .on(table.ownerId, table.conversationId)
      .where(sql`${table.status} = 'streaming'`),
    index('messages_stop_requested').on(table.id).where(sql`${table.status} = 'streaming' and ${table.stopRequested}`),
  ],
)

/** As JSON has it; a filter fits where all that it names is the same. */
export type Metadata = { [key: string]: string | number | boolean }
export type DocumentStatus = 'queued' | 'processing' | 'ready' | 'failed'

export const documents = pgTable(
  'documents',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    ownerId: ownerId(),
    /** The client's own name for it: other content under the same name takes its place. */
    externalId: text('external_id'),
    title: text('title').notNull(),
    /** As it is searched and cited; empty until the first content is ready. */
    text: text('text').notNull(),
    /** Where each page begins in the text, in UTF-16 units, if it has pages. */
    pages: jsonb('pages').$type<number[]>(),
    /** SHA-256 of all that was posted: the same content twice is one document. */
    contentHash: text('content_hash').notNull(),
    /** What makes two posts one document: the client's name for it, or else the content. */
    key: text('key').generatedAlwaysAs((): SQL => sql`coalesce(${documents.externalId}, ${documents.contentHash})`),
    status: text('status').$type<DocumentStatus>().notNull(),
    /** How much of the content is embedded, from 0 to 1. */
    progress: real('progress').notNull().default(0),
    error: text('error'),
    /** Of the content that was posted last, and of its job: a job for an older one has nothing to do any more. */
    version: uuid('version').notNull().defaultRandom(),
    /** What its owner says of it; a search may ask for documents that hold certain of it. */
    metadata: jsonb('metadata').$type<Metadata>().notNull().default({}),
    createdAt: createdAt(),
  },
  (table) => [
    uniqueIndex('documents_key').on(table.ownerId, table.key),
    index('documents_newest').on(table.ownerId, table.createdAt, table.id),
  ],
)

/**
 * Content as it was posted, until its document is ready with it. `documentId` is null while a file still arrives. What a
 * document contained before stays searchable meanwhile.
 */
export const uploads = pgTable(
  'uploads',
  {
    ownerId: ownerId(),
    id: uuid('id').notNull(),
    documentId: uuid('document_id')
      .unique()
      .references(() => documents.id, { onDelete: 'cascade' }),
    title: text('title').notNull(),
    mediaType: text('media_type').notNull(),
    /** Bytes of all its parts. */
    size: integer('size').notNull().default(0),
    /** When its last part arrived. */
    updatedAt: time('updated_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ name: 'uploads_key', columns: [table.ownerId, table.id] }),
    index('uploads_unfinished').on(table.updatedAt).where(sql`${table.documentId} is null`),
  ],
)

/** The bytes of uploads, numbered from 0. Stored uncompressed: PDF and Word files are compressed already. */
export const uploadParts = pgTable(
  'upload_parts',
  {
    ownerId: uuid('owner_id').notNull(),
    uploadId: uuid('upload_id').notNull(),
    number: integer('number').notNull(),
    bytes: bytea('bytes').notNull(),
  },
  (table) => [
    primaryKey({ name: 'upload_parts_key', columns: [table.ownerId, table.uploadId, table.number] }),
    foreignKey({
      name: 'upload_parts_upload',
      columns: [table.ownerId, table.uploadId],
      foreignColumns: [uploads.ownerId, uploads.id],
    }).onDelete('cascade'),
  ],
)

/** Those that Postgres has stop words of, by which a text tells its language; `simple` takes every word as it is. */
export const languages = [
  'danish',
  'dutch',
  'english',
  'finnish',
  'french',
  'german',
  'hungarian',
  'italian',
  'norwegian',
  'portuguese',
  'russian',
  'spanish',
  'swedish',
  'turkish',
  'simple',
] as const
export type Language = (typeof languages)[number]

/**
 * A language as Postgres' text search knows it. Not a cast, which a generated column may not have, nor a column of the
 * type `regconfig`, which pg_upgrade refuses.
 */
function toTextSearch(language: SQLWrapper): SQL {
  const cases = languages.map((name) => `when '${name}' then '${name}'::regconfig`)
  return sql`case ${language} ${sql.raw(cases.join(' '))} end`
}

/** The pieces that are searched and cited. Each model's vectors get a partial HNSW index from `db:migrate`. */
export const chunks = pgTable(
  'chunks',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    ownerId: ownerId(),
    documentId: uuid('document_id')
      .notNull()
      .references(() => documents.id, { onDelete: 'cascade' }),
    /** The document's title and the headings above the chunk: context for search, not part of the quoted text. */
    heading: text('heading').notNull(),
    content: text('content').notNull(),
    start: integer('start').notNull(),
    end: integer('end').notNull(),
    page: integer('page'),
    embeddingModel: text('embedding_model').notNull(),
    embedding: halfvec('embedding').notNull(),
    /** Its document's, one of `languages`: which words are left out, and how the others are brought to their stems. */
    language: text('language').$type<Language>().notNull().default('english'),
    search: tsvector('search')
      .notNull()
      .generatedAlwaysAs(
        (): SQL => sql`to_tsvector(${toTextSearch(chunks.language)}, ${chunks.heading} || ' ' || ${chunks.content})`,
      ),
  },
  (table) => [
    index('chunks_document_model').on(table.documentId, table.embeddingModel),
    index('chunks_owner').on(table.ownerId, table.language),
    index('chunks_search').using('gin', table.search),
  ],
)
