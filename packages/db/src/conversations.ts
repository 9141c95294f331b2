import { and, desc, eq, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { conversations, messages } from './schema.ts'

/** A place in a list ordered by time and id, newest first; `infinity` is before everything. */
export type Cursor = { time: string; id: string }

const { placeholder } = sql
const owned = eq(conversations.ownerId, placeholder('owner'))
const isConversation = and(owned, eq(conversations.id, placeholder('conversationId')))
/** The messages of the conversation that a statement's `owner` and `conversationId` name. */
export const inConversation = and(
  eq(messages.ownerId, placeholder('owner')),
  eq(messages.conversationId, placeholder('conversationId')),
)

/** An owner's conversations. */
export function createConversations(db: Db) {
  const list = prepareList(db)
  const find = prepareFind(db)
  const page = prepareMessages(db)
  const remove = db
    .delete(conversations)
    .where(isConversation)
    .returning({ id: conversations.id })
    .prepare('delete_conversation')
  return {
    /** Newest activity first. */
    list: (owner: string, limit: number, after: Cursor = { time: 'infinity', id: '' }) =>
      list.execute({ owner, limit, ...after }),

    find: async (owner: string, id: string) => (await find.execute({ owner, conversationId: id })).at(0),

    /** The newest messages, newest first; with `before`, those older than that message. */
    messages: (owner: string, id: string, limit: number, before?: string) =>
      page.execute({ owner, conversationId: id, limit, before: before ?? null }),

    /** True when there was one. Its messages go with it. */
    remove: async (owner: string, id: string): Promise<boolean> =>
      (await remove.execute({ owner, conversationId: id })).length > 0,
  }
}

function prepareList(db: Db) {
  const isOlder = sql`(${conversations.updatedAt}, ${conversations.id}) < (${placeholder('time')}::timestamptz, ${placeholder('id')})`
  return db
    .select({
      id: conversations.id,
      title: conversations.title,
      createdAt: conversations.createdAt,
      updatedAt: conversations.updatedAt,
    })
    .from(conversations)
    .where(and(owned, isOlder))
    .orderBy(desc(conversations.updatedAt), desc(conversations.id))
    .limit(placeholder('limit'))
    .prepare('list_conversations')
}

function prepareFind(db: Db) {
  return db
    .select({ id: conversations.id, title: conversations.title, createdAt: conversations.createdAt })
    .from(conversations)
    .where(isConversation)
    .prepare('find_conversation')
}

function prepareMessages(db: Db) {
  const position = db
    .select({ position: messages.position })
    .from(messages)
    .where(and(inConversation, eq(messages.id, placeholder('before'))))
  const isOlder = sql`(${placeholder('before')}::text is null or ${messages.position} < (${position}))`
  return db
    .select({
      id: messages.id,
      role: messages.role,
      content: messages.content,
      status: messages.status,
      sources: messages.sources,
      createdAt: messages.createdAt,
    })
    .from(messages)
    .where(and(inConversation, isOlder))
    .orderBy(desc(messages.position))
    .limit(placeholder('limit'))
    .prepare('conversation_messages')
}
