import { and, desc, eq, type SQLWrapper, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { type ConversationSummary, type Cursor, conversationSummary } from './conversations.ts'
import { conversations, messages } from './schema.ts'

/** `next` is set when more conversations are left to search. */
type FoundConversations = { found: ConversationSummary[]; next: Cursor | undefined }

const windowSize = 200 // conversations per statement: with ten messages each, 10 to 60 ms
const maxSearchMs = 2000 // then the client continues with the next page: about 100,000 messages
const start: Cursor = { time: 'infinity', id: '' }
const end: Cursor = { time: '-infinity', id: '' }

/** Creates the search in an owner's conversations. `maxMs` is the time after which it returns what it has found. */
export function createConversationSearch(db: Db, maxMs = maxSearchMs) {
  return {
    /**
     * Returns at most `limit` conversations, newest activity first, that contain each word of `query` in their title or in
     * a message. A word is any text between spaces. It matches inside longer words and regardless of case, so languages
     * without spaces work, too. Returns fewer, and `next`, when the search takes long.
     */
    search: (owner: string, query: string, limit: number, after: Cursor = start) =>
      searchConversations({ db, maxMs }, owner, query, limit, after),
  }
}

async function searchConversations(
  { db, maxMs }: { db: Db; maxMs: number },
  owner: string,
  query: string,
  limit: number,
  after: Cursor,
): Promise<FoundConversations> {
  const deadline = performance.now() + maxMs
  const patterns = toPatterns(query)
  const found: ConversationSummary[] = []
  for (let from = after; ; ) {
    const until = await findWindowEnd(db, owner, from)
    found.push(...(await searchWindow(db, owner, patterns, limit - found.length, from, until ?? end)))
    if (found.length === limit || !until) return { found, next: undefined }
    if (performance.now() >= deadline) return { found, next: until }
    from = until
  }
}

/** Returns one LIKE pattern per word. The longest come first, because they are usually the rarest. */
function toPatterns(query: string): string[] {
  const words = query.normalize('NFC').split(/\s+/).filter(Boolean)
  return words.toSorted((a, b) => b.length - a.length).map((word) => `%${word.replaceAll(/[\\%_]/g, '\\$&')}%`)
}

const isAfter = (owner: string, { time, id }: Cursor) =>
  and(
    eq(conversations.ownerId, owner),
    sql`(${conversations.updatedAt}, ${conversations.id}) < (${time}::timestamptz, ${id})`,
  )

/** Returns the position of the last conversation of a full window, or undefined if fewer are left. */
async function findWindowEnd(db: Db, owner: string, after: Cursor): Promise<Cursor | undefined> {
  const [last] = await db
    .select({ time: conversations.updatedAt, id: conversations.id })
    .from(conversations)
    .where(isAfter(owner, after))
    .orderBy(desc(conversations.updatedAt), desc(conversations.id))
    .offset(windowSize - 1)
    .limit(1)
  return last && { time: last.time.toISOString(), id: last.id }
}

/**
 * Folds case like Unicode, whatever the database's locale is. Lower-casing takes most of the time, so texts are compared
 * as they are if no letter of the query has case, as in Chinese or Arabic.
 */
async function searchWindow(db: Db, owner: string, patterns: string[], limit: number, after: Cursor, until: Cursor) {
  const hasCase = patterns.some((pattern) => pattern.toLowerCase() !== pattern.toUpperCase())
  const fold = (text: SQLWrapper) => (hasCase ? sql`lower(${text} collate "pg_c_utf8")` : sql`${text}`)
  const pattern = fold(sql`word`)
  const isInWindow = sql`(${conversations.updatedAt}, ${conversations.id}) >= (${until.time}::timestamptz, ${until.id})`
  const inMessage = sql`select from ${messages} where ${messages.ownerId} = ${owner}
    and ${messages.conversationId} = ${conversations.id} and ${fold(messages.content)} like ${pattern}`
  const isMissing = sql`${fold(conversations.title)} not like ${pattern} and not exists (${inMessage})`
  const words = sql`jsonb_array_elements_text(${JSON.stringify(patterns)}::jsonb) as words(word)`
  return db
    .select(conversationSummary)
    .from(conversations)
    .where(and(isAfter(owner, after), isInWindow, sql`not exists (select from ${words} where ${isMissing})`))
    .orderBy(desc(conversations.updatedAt), desc(conversations.id))
    .limit(limit)
}
