import { and, desc, eq, inArray, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { addPieces, type Piece } from './parts.ts'
import { selectPieces } from './pieces.ts'
import { conversations, messages, type Rating, type StoredPart } from './schema.ts'

/** A position in a list ordered by time and id, newest first. Time `infinity` is the start of the list. */
export type Cursor = { time: string; id: string }

export type ConversationSummary = { id: string; title: string; createdAt: Date; updatedAt: Date }

export const conversationSummary = {
  id: conversations.id,
  title: conversations.title,
  createdAt: conversations.createdAt,
  updatedAt: conversations.updatedAt,
}

/** An owner's rating of an answer. `null` removes it. */
export type Feedback = { value: Rating; comment: string | null } | null

const { placeholder } = sql
const owned = eq(conversations.ownerId, placeholder('owner'))
const isConversation = and(owned, eq(conversations.id, placeholder('conversationId')))
const pieceLength = 64 * 1024 // code points of a longer message that are read at once
const maxContentBytes = 32 * 1024 // of a message that is read with others, so that 50 of them are 1.6 MB at most

/** Selects the messages of the conversation given by the placeholders `owner` and `conversationId`. */
export const inConversation = and(
  eq(messages.ownerId, placeholder('owner')),
  eq(messages.conversationId, placeholder('conversationId')),
)

/** Creates the queries on conversations. */
export function createConversations(db: Db) {
  const list = prepareList(db)
  const read = prepareRead(db)
  const readPiece = prepareReadPiece(db)
  const setTitle = prepareSetTitle(db)
  const remove = db
    .delete(conversations)
    .where(isConversation)
    .returning({ id: conversations.id })
    .prepare('delete_conversation')
  return {
    /** Returns conversations, newest activity first. */
    list: (owner: string, limit: number, after: Cursor = { time: 'infinity', id: '' }) =>
      list.execute({ owner, limit, ...after }),

    /**
     * Returns a conversation with its newest messages, newest first, or undefined. With `before`, returns only messages
     * older than that one. The content of long messages is null: `readContent` reads it.
     */
    read: async (owner: string, id: string, limit: number, before?: string) => {
      const rows = await read.execute({ owner, conversationId: id, limit, before: before ?? null })
      const [first] = rows
      return (
        first && { ...first.conversation, messages: rows.flatMap(({ message }) => (message ? addStored(message) : [])) }
      )
    },

    /** Yields the content of one message in pieces, or nothing. Throws if it is deleted meanwhile. */
    readContent: async function* (owner: string, conversationId: string, id: string): AsyncGenerator<string> {
      for (let start = 1, isLast = false; !isLast; start += pieceLength) {
        const [row] = await readPiece.execute({ owner, conversationId, id, start })
        if (!row && start > 1) throw new Error('The message was deleted while it was read.')
        if (row?.piece) yield row.piece
        isLast = (row?.piece.length ?? 0) < pieceLength
      }
    },

    /** Renames a conversation. Returns undefined if it does not exist. */
    rename: async (owner: string, id: string, title: string): Promise<ConversationSummary | undefined> =>
      (await setTitle.execute({ owner, conversationId: id, title, from: null })).at(0),

    /** Replaces the title `from`. Returns false if the conversation has another title or does not exist. */
    replaceTitle: async (owner: string, id: string, from: string, title: string): Promise<boolean> =>
      (await setTitle.execute({ owner, conversationId: id, title, from })).length > 0,

    /** Stores or removes the owner's rating of an answer. Returns false if there is no such answer. */
    rate: async (owner: string, conversationId: string, id: string, feedback: Feedback): Promise<boolean> =>
      rateAnswer(db, owner, conversationId, id, feedback),

    /** Deletes a conversation with its messages. Returns false if it does not exist. */
    remove: async (owner: string, id: string): Promise<boolean> =>
      (await remove.execute({ owner, conversationId: id })).length > 0,
  }
}

function prepareList(db: Db) {
  const isOlder = sql`(${conversations.updatedAt}, ${conversations.id}) < (${placeholder('time')}::timestamptz, ${placeholder('id')})`
  return db
    .select(conversationSummary)
    .from(conversations)
    .where(and(owned, isOlder))
    .orderBy(desc(conversations.updatedAt), desc(conversations.id))
    .limit(placeholder('limit'))
    .prepare('list_conversations')
}

/** Prepares a single statement, even for empty conversations, because round trips dominate the cost of a request. */
function prepareRead(db: Db) {
  const position = db
    .select({ position: messages.position })
    .from(messages)
    .where(and(inConversation, eq(messages.id, placeholder('before'))))
  const isShort = sql`octet_length(${messages.content}) <= ${sql.raw(`${maxContentBytes}`)}`
  const isUnfinished = inArray(messages.status, ['streaming', 'interrupted']) // pieces may belong to it
  const shortContent = sql<string | null>`case when ${isShort} or ${isUnfinished} then ${messages.content} end`
  const isOlder = sql`(${placeholder('before')}::text is null or ${messages.position} < (${position}))`
  return db
    .select({
      conversation: { id: conversations.id, title: conversations.title, createdAt: conversations.createdAt },
      message: {
        id: messages.id,
        role: messages.role,
        content: shortContent,
        parts: messages.parts,
        pieces: selectPieces(isUnfinished),
        status: messages.status,
        sources: messages.sources,
        feedback: messages.feedback,
        feedbackComment: messages.feedbackComment,
        model: messages.model,
        finishReason: messages.finishReason,
        inputTokens: messages.inputTokens,
        outputTokens: messages.outputTokens,
        cachedTokens: messages.cachedTokens,
        createdAt: messages.createdAt,
      },
    })
    .from(conversations)
    .leftJoin(messages, and(inConversation, isOlder))
    .where(isConversation)
    .orderBy(desc(messages.position))
    .limit(placeholder('limit'))
    .prepare('read_conversation')
}

/** Adds what is stored of a running answer in pieces. */
function addStored<Read extends { content: string | null; parts: StoredPart[] | null; pieces: Piece[] }>({
  pieces,
  ...message
}: Read) {
  const { content, parts } = message
  return content === null || pieces.length === 0 ? message : { ...message, ...addPieces({ content, parts }, pieces) }
}

function prepareReadPiece(db: Db) {
  return db
    .select({
      piece: sql<string>`substr(${messages.content}, ${placeholder('start')}::int, ${sql.raw(`${pieceLength}`)})`,
    })
    .from(messages)
    .where(and(inConversation, eq(messages.id, placeholder('id'))))
    .prepare('read_piece')
}

/** Leaves `updated_at` as it is: a new title is no activity. */
function prepareSetTitle(db: Db) {
  const hasTitle = sql`(${placeholder('from')}::text is null or ${conversations.title} = ${placeholder('from')})`
  return db
    .update(conversations)
    .set({ title: sql`${placeholder('title')}` })
    .where(and(isConversation, hasTitle))
    .returning(conversationSummary)
    .prepare('set_title')
}

async function rateAnswer(db: Db, owner: string, conversationId: string, id: string, feedback: Feedback) {
  const isAnswer = and(
    eq(messages.ownerId, owner),
    eq(messages.conversationId, conversationId),
    eq(messages.id, id),
    eq(messages.role, 'assistant'),
  )
  const rated = await db
    .update(messages)
    .set({
      feedback: feedback?.value ?? null,
      feedbackComment: feedback?.comment ?? null,
      feedbackAt: feedback && sql`now()`,
    })
    .where(isAnswer)
    .returning({ id: messages.id })
  return rated.length > 0
}
