import { type SQL, sql } from 'drizzle-orm'
import {
  type AnyPgColumn,
  bigint,
  boolean,
  customType,
  date,
  foreignKey,
  index,
  integer,
  json,
  jsonb,
  pgTable,
  primaryKey,
  real,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'

/** A vector of any width. Width and model are stored per row, so one table serves every embedder. */
const halfvec = customType<{ data: number[]; driverData: string }>({
  dataType: () => 'halfvec',
  toDriver: (vector) => JSON.stringify(vector),
  fromDriver: (text) => JSON.parse(text),
})

/** The dimensions of a sparse vector with one for each term: the most that pgvector supports. */
export const termSpace = 1_000_000_000
const sparsevec = customType<{ data: string }>({ dataType: () => `sparsevec(${termSpace})` })
const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })

// Three digits, because a JavaScript Date has millisecond precision and a cursor made from one must find its row again.
const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 })
const createdAt = () => time('created_at').notNull().defaultNow()

/** All other rows belong to an owner. */
export const owners = pgTable('owners', {
  id: uuid('id').primaryKey().defaultRandom(),
  name: text('name').notNull().unique(),
  /** The organization whose shared documents this owner may read. It is a row of this table too: see `toOrganizationName`. */
  organizationId: uuid('organization_id').references((): AnyPgColumn => owners.id, { onDelete: 'set null' }),
  createdAt: createdAt(),
})

const ownerId = () =>
  uuid('owner_id')
    .notNull()
    .references(() => owners.id, { onDelete: 'cascade' })

/** What a key may do: read, ask models, or change documents. docs/security.md lists the routes. */
export const keyScopes = ['read', 'chat', 'documents'] as const
export type KeyScope = (typeof keyScopes)[number]

/** An API key is `sl_<id>_<secret>`. Only the secret's SHA-256 is stored. */
export const apiKeys = pgTable('api_keys', {
  id: text('id').primaryKey(),
  ownerId: ownerId(),
  secretHash: text('secret_hash').notNull(),
  /** Whether requests with this key may share documents with the owner's organization. */
  isLibrarian: boolean('is_librarian').notNull().default(false),
  /** Null: the key may do everything. */
  scopes: text('scopes').array().$type<KeyScope[]>(),
  createdAt: createdAt(),
  /** The tokens that may be used with this key per day. Null: no limit. */
  tokensPerDay: bigint('tokens_per_day', { mode: 'number' }),
  /** Accurate to the minute, because it is written in batches. */
  lastUsedAt: time('last_used_at'),
  /** Null: the key never expires. */
  expiresAt: time('expires_at'),
  /** The id of the key that took over when this one was rotated. */
  replacedBy: text('replaced_by'),
  revokedAt: time('revoked_at'),
})

/** Stands for all processes in rows of `model_usage` whose day is over. */
export const mergedProcess = '00000000-0000-0000-0000-000000000000'

/** Counts what each API process has allowed an owner, so that limits apply across all processes. */
export const usage = pgTable(
  'usage',
  {
    ownerId: ownerId(),
    processId: uuid('process_id').notNull(),
    /** The start of the minute that `requests` counts. */
    minute: time('minute').notNull(),
    requests: integer('requests').notNull(),
    /** Answers that are streaming. The count expires with the row, because its process may have crashed. */
    streams: integer('streams').notNull(),
    updatedAt: time('updated_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ name: 'usage_key', columns: [table.ownerId, table.processId] })],
)

export type UsageKind = 'chat' | 'dialect' | 'embedding' | 'rerank'

const count = (name: string) => bigint(name, { mode: 'number' }).notNull()

/**
 * What models were used for, per day in UTC. A process writes only rows with its own id, and always its whole count. So a
 * statement that is sent twice counts once. Rows of days that are over are merged: see `mergedProcess`.
 */
export const modelUsage = pgTable(
  'model_usage',
  {
    ownerId: ownerId(),
    day: date('day', { mode: 'string' }).notNull(),
    /** The API key, or '' for tokens of an issuer, for `AUTH=off` and for documents. */
    keyId: text('key_id').notNull(),
    kind: text('kind').$type<UsageKind>().notNull(),
    model: text('model').notNull(),
    processId: uuid('process_id').notNull(),
    /** Calls of the model. */
    requests: count('requests'),
    inputTokens: count('input_tokens'),
    /** Those of the input tokens that the model server read from its prompt cache. */
    cachedTokens: count('cached_tokens'),
    outputTokens: count('output_tokens'),
    /** Those of the output tokens that the model spent on reasoning. */
    reasoningTokens: count('reasoning_tokens'),
    toolCalls: count('tool_calls'),
    /** Those of the requests whose tokens are an estimate, because the model server reported none. */
    estimated: count('estimated'),
  },
  (table) => [
    primaryKey({
      name: 'model_usage_key',
      columns: [table.ownerId, table.day, table.keyId, table.kind, table.model, table.processId],
    }),
    index('model_usage_unmerged')
      .on(table.day)
      .where(sql.raw(`process_id <> '${mergedProcess}'`)),
  ],
)

/** The key is owner and id, because clients choose conversation ids and two owners may choose the same one. */
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
export type Rating = 1 | -1
export type MessageStatus = 'streaming' | 'complete' | 'stopped' | 'interrupted' | 'failed'

/** A passage that was given to an answer, cited as `[n]`. Offsets count UTF-16 units of the document's text. */
export type Source = {
  n: number
  documentId: string
  chunkId: string
  title: string
  start: number
  end: number
  page?: number
}

/** A JSON value, as tools receive and return it. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json }

/**
 * A part of an answer, in the order in which it happened, so parts are only ever added. `sources` stands for the next
 * `count` of the answer's sources.
 */
export type AnswerPart =
  | { type: 'text'; text: string }
  | { type: 'reasoning'; text: string }
  | { type: 'step-start' }
  | { type: 'sources'; count: number }
  | { type: 'tool-call'; toolCallId: string; toolName: string; input: Json }
  | { type: 'tool-result'; toolCallId: string; output: Json }
  | { type: 'tool-error'; toolCallId: string; errorText: string }
  | { type: 'approval-request'; toolCallId: string; approvalId: string }
  | { type: 'approval-response'; approvalId: string; approved: boolean; reason?: string }
  | { type: 'tool-denied'; toolCallId: string }
  /** The client now has to run an approved call. */
  | { type: 'client-call'; toolCallId: string }

/** A part as it is stored in its message. Text is stored once, in `content`: its part has only its length in UTF-16 units. */
export type StoredPart = Exclude<AnswerPart, { type: 'text' }> | { type: 'text'; length: number } | StoredFile

/** An image of a question. Its URL, which has `length` UTF-16 units, is in `message_files`. It may have megabytes. */
export type StoredFile = { type: 'file'; id: string; mediaType: string; filename?: string; length: number }

/** Metadata as JSON. A filter matches if all its fields are equal. */
export type Metadata = { [key: string]: string | number | boolean }

/** The documents that an answer may be found in: those that match both. */
export type Scope = {
  /** Entries that a document's metadata contains. */
  filter?: Metadata | undefined
  /** Other owners' documents and unknown ids match nothing. */
  documentIds?: string[] | undefined
}

export const messages = pgTable(
  'messages',
  {
    ownerId: uuid('owner_id').notNull(),
    conversationId: text('conversation_id').notNull(),
    id: text('id').notNull(),
    /** Orders the messages of a conversation. Two messages from one statement have the same `created_at`. */
    position: bigint('position', { mode: 'number' }).generatedAlwaysAsIdentity(),
    role: text('role').$type<MessageRole>().notNull(),
    /** The plain text. Of a running answer, the text that was there when it was last started: see `answer_pieces`. */
    content: text('content').notNull(),
    /** Null if the message consists of its text alone. */
    parts: json('parts').$type<StoredPart[]>(), // `jsonb` would sort the keys of tools' inputs and outputs
    status: text('status').$type<MessageStatus>().notNull(),
    sources: jsonb('sources').$type<Source[]>().notNull().default([]),
    /** Of a question. Null: all documents. */
    scope: jsonb('scope').$type<Scope>(),
    /** The name of the chat model that wrote this answer. Null while it runs. */
    model: text('model'),
    finishReason: text('finish_reason'),
    inputTokens: integer('input_tokens'),
    outputTokens: integer('output_tokens'),
    /** Input tokens that the model server read from its prompt cache, if it reports them. */
    cachedTokens: integer('cached_tokens'),
    /** Why the answer failed, as a sentence for users. */
    error: text('error'),
    /** The owner's rating of an answer. Null: not rated. */
    feedback: integer('feedback').$type<Rating>(),
    feedbackComment: text('feedback_comment'),
    feedbackAt: time('feedback_at'),
    createdAt: createdAt(),
    /** The last heartbeat of the process that generates this answer. */
    heartbeatAt: time('heartbeat_at').notNull().defaultNow(),
    /** Whether a client asked that process to stop the answer. */
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
    index('messages_feedback').on(table.position).where(sql`${table.feedback} is not null`),
    index('messages_stop_requested').on(table.id).where(sql`${table.status} = 'streaming' and ${table.stopRequested}`),
  ],
)

/**
 * What was added to running answers, one row per answer and second, until the answer ends. Adding rows instead of
 * rewriting the message keeps the write-ahead log independent of the answer's length.
 */
export const answerPieces = pgTable(
  'answer_pieces',
  {
    ownerId: uuid('owner_id').notNull(),
    conversationId: text('conversation_id').notNull(),
    messageId: text('message_id').notNull(),
    /** The piece's position and length in the answer: UTF-16 units of its texts, and 1 for each other part. */
    start: integer('start').notNull(),
    length: integer('length').notNull(),
    parts: json('parts').$type<AnswerPart[]>().notNull(),
  },
  (table) => [
    primaryKey({
      name: 'answer_pieces_key',
      columns: [table.ownerId, table.conversationId, table.messageId, table.start],
    }),
    foreignKey({
      name: 'answer_pieces_message',
      columns: [table.ownerId, table.conversationId, table.messageId],
      foreignColumns: [messages.ownerId, messages.conversationId, messages.id],
    }).onDelete('cascade'),
  ],
)

/**
 * The URLs of the files of questions, in pieces numbered from 0. They are read only when they are sent, so that lists and
 * histories stay small.
 */
export const messageFiles = pgTable(
  'message_files',
  {
    ownerId: uuid('owner_id').notNull(),
    conversationId: text('conversation_id').notNull(),
    messageId: text('message_id').notNull(),
    id: uuid('id').notNull(),
    number: integer('number').notNull(),
    piece: text('piece').notNull(),
  },
  (table) => [
    primaryKey({ name: 'message_files_key', columns: [table.ownerId, table.id, table.number] }),
    index('message_files_by_message').on(table.ownerId, table.conversationId, table.messageId),
    foreignKey({
      name: 'message_files_message',
      columns: [table.ownerId, table.conversationId, table.messageId],
      foreignColumns: [messages.ownerId, messages.conversationId, messages.id],
    }).onDelete('cascade'),
  ],
)

export type DocumentStatus = 'queued' | 'processing' | 'ready' | 'failed'

export const documents = pgTable(
  'documents',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    ownerId: ownerId(),
    /** The client's name for the document. Different content with the same name replaces it. */
    externalId: text('external_id'),
    title: text('title').notNull(),
    /** The text that is searched and cited. Empty until the first content is ready. */
    text: text('text').notNull(),
    /** Where each page begins in the text, in UTF-16 units, if there are pages. */
    pages: jsonb('pages').$type<number[]>(),
    /** SHA-256 of everything posted. Posting the same content twice creates one document. */
    contentHash: text('content_hash').notNull(),
    /** Identifies a document across posts: the client's name for it, otherwise its content. */
    key: text('key').generatedAlwaysAs((): SQL => sql`coalesce(${documents.externalId}, ${documents.contentHash})`),
    status: text('status').$type<DocumentStatus>().notNull(),
    /** The embedded fraction of the content, from 0 to 1. */
    progress: real('progress').notNull().default(0),
    error: text('error'),
    /** What the reader left out of the searchable content, as sentences for users. */
    warnings: jsonb('warnings').$type<string[]>().notNull().default([]),
    /** The version of the content posted last, and of its job. Jobs for older versions do nothing. */
    version: uuid('version').notNull().defaultRandom(),
    /** Metadata set by the owner. A search may filter by it. */
    metadata: jsonb('metadata').$type<Metadata>().notNull().default({}),
    createdAt: createdAt(),
  },
  (table) => [
    uniqueIndex('documents_key').on(table.ownerId, table.key),
    index('documents_newest').on(table.ownerId, table.createdAt, table.id),
  ],
)

/**
 * Posted content, until its document is ready with it. `documentId` is null while a file is still arriving. The
 * document's previous content stays searchable in the meantime.
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
    /** The total size of all parts, in bytes. */
    size: integer('size').notNull().default(0),
    /** When the last part arrived. */
    updatedAt: time('updated_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ name: 'uploads_key', columns: [table.ownerId, table.id] }),
    index('uploads_unfinished').on(table.updatedAt).where(sql`${table.documentId} is null`),
  ],
)

/** The bytes of uploads, numbered from 0. Stored uncompressed, because PDF and Word files are already compressed. */
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

/** The text chunks that are searched and cited. `db:migrate` builds a partial HNSW index for each model's vectors. */
export const chunks = pgTable(
  'chunks',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    ownerId: ownerId(),
    documentId: uuid('document_id')
      .notNull()
      .references(() => documents.id, { onDelete: 'cascade' }),
    /**
     * The document's title, the headings above the chunk and, in the later chunks of a table, its column names: context
     * for search, not part of the quoted text.
     */
    heading: text('heading').notNull(),
    content: text('content').notNull(),
    start: integer('start').notNull(),
    end: integer('end').notNull(),
    page: integer('page'),
    embeddingModel: text('embedding_model').notNull(),
    embedding: halfvec('embedding').notNull(),
    /** Numbers for the terms of heading and content: see `toTermNumber`. */
    terms: integer('terms').array().notNull().default([]),
    /** The BM25 weight of each term, at the term's number. */
    weights: sparsevec('weights')
      .notNull()
      .default(sql.raw(`'{}/${termSpace}'`)),
    /** The version of the tokenizer that found the terms. */
    tokenizer: text('tokenizer').notNull().default(''),
  },
  (table) => [
    index('chunks_document_model').on(table.documentId, table.embeddingModel),
    index('chunks_owner_model').on(table.ownerId, table.embeddingModel),
    index('chunks_terms').using('gin', table.terms),
  ],
)
