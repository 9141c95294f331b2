import type { PastMessage, Source } from '@repo/db'
import postgres, { type Sql } from 'postgres'

/** A pool, a connection or a transaction. */
export type Queryable = Pick<Sql, 'unsafe'>

export type Turn = { conversationId: string; questionId: string; question: string; title: string; answerId: string }

type AnswerEnd = {
  content: string
  status: 'complete' | 'failed'
  sources: Source[]
  finishReason: string | null
  inputTokens: number | null
  outputTokens: number | null
}

/** Opens a pool, which connects with the first query. */
export function connectRaw(url: string, poolSize: number): Sql {
  return postgres(url, { max: poolSize, fetch_types: false, onnotice: () => {} })
}

/** Named statements are parsed and planned once per connection, also through PgBouncer. */
const named = { prepare: true }

/** Returns the id of the single owner, and creates it if necessary. */
export async function ensureOwner(sql: Sql): Promise<string> {
  const [row] = await sql<{ id: string }[]>`
    insert into owners (name) values ('local') on conflict (name) do update set name = excluded.name returning id`
  if (!row) throw new Error('The upsert returned no row.')
  return row.id
}

/** A statement does not see its own inserts, so this selects only the messages before the question. */
const openTurnText = `
with conversation as (
  insert into conversations (owner_id, id, title) values ($1, $2, $3)
  on conflict (owner_id, id) do update set updated_at = now()
), turn as (
  insert into messages (owner_id, conversation_id, id, role, content, status)
  values ($1, $2, $4, 'user', $5, 'complete'), ($1, $2, $6, 'assistant', '', 'streaming')
)
select role, content, (sum(octet_length(content)) over (order by position) - octet_length(content))::int as start
from messages
where owner_id = $1 and conversation_id = $2 and content <> '' order by position desc limit 50`

/** Stores a question and an empty answer. Returns the earlier messages, newest first. */
export async function openTurn(sql: Queryable, owner: string, turn: Turn): Promise<PastMessage[]> {
  const { conversationId, title, questionId, question, answerId } = turn
  return sql.unsafe<PastMessage[]>(openTurnText, [owner, conversationId, title, questionId, question, answerId], named)
}

const finishAnswerText = `
update messages set content = $4, status = $5, sources = $6::text::jsonb, finish_reason = $7, input_tokens = $8,
  output_tokens = $9
where owner_id = $1 and conversation_id = $2 and id = $3`

/** Stores the end of an answer. */
export async function finishAnswer(
  sql: Queryable,
  owner: string,
  { conversationId, answerId }: Turn,
  end: AnswerEnd,
): Promise<void> {
  const sources = JSON.stringify(end.sources)
  const values = [end.content, end.status, sources, end.finishReason, end.inputTokens, end.outputTokens]
  await sql.unsafe(finishAnswerText, [owner, conversationId, answerId, ...values], named)
}

type ConversationRow = {
  title: string
  begunAt: string
  id: string
  role: string
  content: string
  status: string
  sources: string
  createdAt: Date
}

const conversationText = `
select title, conversations.created_at::text as "begunAt", messages.id, role, content, status, sources::text as sources,
  messages.created_at as "createdAt"
from conversations join messages on messages.owner_id = $1 and conversation_id = $2
where conversations.owner_id = $1 and conversations.id = $2 order by position desc limit 50`

/** Returns a conversation as JSON with its newest 50 messages, oldest first, or undefined. */
export async function readConversation(sql: Queryable, owner: string, id: string): Promise<string | undefined> {
  const rows = await sql.unsafe<ConversationRow[]>(conversationText, [owner, id], named)
  const [first] = rows
  if (!first) return undefined
  const messages = rows.map(describeMessage).reverse().join()
  const createdAt = new Date(first.begunAt).toISOString()
  return `{"id":"${id}","title":${JSON.stringify(first.title)},"createdAt":"${createdAt}","messages":[${messages}]}`
}

/** Returns a message as JSON. Ids and enums need no escaping, and sources already are JSON. */
function describeMessage({ id, role, content, status, sources, createdAt }: ConversationRow): string {
  const text = JSON.stringify(content)
  return `{"id":"${id}","role":"${role}","content":${text},"status":"${status}","sources":${sources},"createdAt":"${createdAt.toISOString()}"}`
}
