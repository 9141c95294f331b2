import { and, desc, eq, gt, lt, ne, type SQL, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { inConversation } from './conversations.ts'
import { asConflict } from './errors.ts'
import { conversations, messages } from './schema.ts'

export type Turn = {
  conversationId: string
  /** Used when this turn creates the conversation. */
  title: string
  questionId: string
  question: string
  answerId: string
}

/** `start` is where its text begins in the text of the whole conversation, in bytes of UTF-8. */
export type PastMessage = { role: 'user' | 'assistant'; content: string; start: number }

const { placeholder } = sql
const historyLimit = 100 // messages; the prompt's budget is usually reached first

/** Creates the queries on turns. A turn is one question with its answer. */
export function createTurns(db: Db) {
  const openTurn = prepareOpenTurn(db)
  const history = prepareHistory(db)
  return {
    /**
     * Stores a question with an empty running answer, and creates the conversation if necessary. Returns the newest
     * earlier messages that have text, newest first. All in one statement. `limit` is their maximum number. When it is
     * exceeded, the older half is omitted at once, so that the first message stays the same for many turns.
     * Throws `ConflictError`: `message_exists` if the question's id exists, `answer_running` while another answer runs.
     */
    open: (owner: string, turn: Turn, limit = historyLimit): Promise<PastMessage[]> =>
      asConflict(openTurn.execute({ owner, ...turn, limit })),

    /**
     * Replaces the answer to the conversation's last question with an empty running one. Returns that question, or
     * undefined if `questionId` is not the last one. Throws `ConflictError` (`answer_running`).
     */
    reopen: (owner: string, turn: Pick<Turn, 'conversationId' | 'questionId' | 'answerId'>) =>
      reopenTurn(db, owner, turn),

    /** Returns the messages before a stored question, as `open` does. */
    history: (
      owner: string,
      conversationId: string,
      questionId: string,
      limit = historyLimit,
    ): Promise<PastMessage[]> => history.execute({ owner, conversationId, questionId, limit }),
  }
}

function prepareOpenTurn(db: Db) {
  const conversation = db.$with('conversation').as(
    db
      .insert(conversations)
      .values({ ownerId: placeholder('owner'), id: placeholder('conversationId'), title: placeholder('title') })
      .onConflictDoUpdate({ target: [conversations.ownerId, conversations.id], set: { updatedAt: sql`now()` } })
      .returning({ id: conversations.id }),
  )
  const key = { ownerId: placeholder('owner'), conversationId: placeholder('conversationId') }
  const question = { ...key, id: placeholder('questionId'), content: placeholder('question') }
  const answer = { ...key, id: placeholder('answerId'), content: '' }
  const turn = db.$with('turn').as(
    db
      .insert(messages)
      .values([
        { ...question, role: 'user', status: 'complete' },
        { ...answer, role: 'assistant', status: 'streaming' },
      ])
      .returning({ id: messages.id }),
  )
  // A statement does not see its own inserts, so this selects only earlier messages.
  return selectHistory(db, inConversation, db.with(conversation, turn)).prepare('open_turn')
}

async function reopenTurn(db: Db, owner: string, turn: Pick<Turn, 'conversationId' | 'questionId' | 'answerId'>) {
  const { conversationId, questionId, answerId } = turn
  const rows = await asConflict(
    db.execute<{ question: string }>(sql`
      with last_question as (
        select id, position, content from ${messages}
        where owner_id = ${owner} and conversation_id = ${conversationId} and role = 'user'
        order by position desc limit 1
      ), question as (
        select position, content from last_question where id = ${questionId}
      ), replaced as (
        delete from ${messages} using question
        where owner_id = ${owner} and conversation_id = ${conversationId}
          and messages.position > question.position and status <> 'streaming'
      ), touched as (
        update ${conversations} set updated_at = now() from question
        where owner_id = ${owner} and id = ${conversationId}
        returning id
      )
      insert into ${messages} (owner_id, conversation_id, id, role, content, status)
      select ${owner}::uuid, ${conversationId}, ${answerId}, 'assistant', '', 'streaming' from question, touched
      returning (select content from question) as question`),
  )
  return rows.at(0)?.question
}

function prepareHistory(db: Db) {
  const question = db
    .select({ position: messages.position })
    .from(messages)
    .where(and(inConversation, eq(messages.id, placeholder('questionId'))))
  return selectHistory(db, and(inConversation, lt(messages.position, question))).prepare('turn_history')
}

/** Selects messages with text, newest first. Sizes are in bytes, because Postgres knows them without reading the text. */
function selectHistory(db: Db, condition: SQL | undefined, query: Pick<Db, 'select'> = db) {
  const { role, content, position } = messages
  const size = sql`octet_length(${content})`
  const past = db
    .select({
      role,
      content,
      position,
      start: sql<number>`(sum(${size}) over (order by ${position}) - ${size})::int`.as('start'),
      number: sql<number>`row_number() over (order by ${position})`.as('number'),
      count: sql<number>`count(*) over ()`.as('count'),
    })
    .from(messages)
    .where(and(condition, ne(content, '')))
    .as('past')
  const limit = sql`${placeholder('limit')}::int`
  const block = sql`greatest(${limit} / 2, 1)`
  const omitted = sql`(greatest(${past.count} - ${limit}, 0) + ${block} - 1) / ${block} * ${block}`
  return query
    .select({ role: past.role, content: past.content, start: past.start })
    .from(past)
    .where(gt(past.number, omitted))
    .orderBy(desc(past.position))
}
