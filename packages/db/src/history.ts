import { and, desc, eq, gt, isNotNull, lt, ne, or, type SQL, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { inConversation } from './conversations.ts'
import { type MessageRole, messages, type StoredPart } from './schema.ts'

/**
 * `size` is about what it adds to a prompt, in bytes of UTF-8: its text, its tool calls with their results, and for each
 * image about as many bytes as its tokens. `start` is the size of everything before it in the conversation.
 */
export type PastMessage = {
  role: MessageRole
  content: string
  parts?: StoredPart[] | null
  start: number
  size: number
}

const { placeholder } = sql
const imageSize = 4000 // bytes of text with as many tokens: most models count about 1,000 per image

/** Prepares the query of the messages before a stored question. */
export function prepareHistory(db: Db) {
  const question = db
    .select({ position: messages.position })
    .from(messages)
    .where(and(inConversation, eq(messages.id, placeholder('questionId'))))
  return selectHistory(db, and(inConversation, lt(messages.position, question))).prepare('turn_history')
}

/**
 * Selects messages that are not empty, newest first. Sizes are in bytes, because Postgres knows those of texts without
 * reading them.
 */
export function selectHistory(db: Pick<Db, 'select'>, condition: SQL | undefined, query: Pick<Db, 'select'> = db) {
  const { role, content, parts, position } = messages
  const hasCalls = sql`jsonb_path_exists(${parts}::jsonb, '$[*] ? (@.type == "tool-call")')`
  const images = sql`coalesce(jsonb_array_length(jsonb_path_query_array(${parts}::jsonb, '$[*] ? (@.type == "file")')), 0)`
  const ofParts = sql`case when ${role} = 'user' then ${images} * ${sql.raw(`${imageSize}`)}
    when ${hasCalls} then octet_length(${parts}::text) else 0 end`
  const size = sql<number>`(octet_length(${content}) + ${ofParts})`
  const past = db
    .select({
      role,
      content,
      parts,
      position,
      size: sql<number>`${size}`.as('size'),
      start: sql<number>`(sum(${size}) over (order by ${position}) - ${size})::int`.as('start'),
      number: sql<number>`row_number() over (order by ${position})`.as('number'),
      count: sql<number>`count(*) over ()`.as('count'),
    })
    .from(messages)
    .where(and(condition, or(ne(content, ''), isNotNull(parts))))
    .as('past')
  const limit = sql`${placeholder('limit')}::int`
  const block = sql`greatest(${limit} / 2, 1)`
  const omitted = sql`(greatest(${past.count} - ${limit}, 0) + ${block} - 1) / ${block} * ${block}`
  return query
    .select({ role: past.role, content: past.content, parts: past.parts, start: past.start, size: past.size })
    .from(past)
    .where(gt(past.number, omitted))
    .orderBy(desc(past.position))
}
