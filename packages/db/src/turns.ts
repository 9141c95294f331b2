import { and, desc, eq, lt, ne, type SQL, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { inConversation } from './conversations.ts'
import { asConflict } from './errors.ts'
import { conversations, messages, type Scope } from './schema.ts'

export type Turn = {
  conversationId: string
  /** Used when this turn creates the conversation. */
  title: string
  questionId: string
  question: string
  /** Stored with the question. */
  scope?: Scope | undefined
  answerId: string
}

export type StoredQuestion = { question: string; scope: Scope | null }
export type PastMessage = { role: 'user' | 'assistant'; content: string }

type ReopenedTurn = Pick<Turn, 'conversationId' | 'questionId' | 'scope' | 'answerId'>

const { placeholder } = sql
const historyLimit = 50 // messages; the prompt's token budget is usually reached first

/** Creates the queries on turns. A turn is one question with its answer. */
export function createTurns(db: Db) {
  const openTurn = prepareOpenTurn(db)
  const history = prepareHistory(db)
  return {
    /**
     * Stores a question with an empty running answer, and creates the conversation if necessary. Returns at most `limit`
     * earlier messages that have text, newest first. All in one statement.
     * Throws `ConflictError`: `message_exists` if the question's id exists, `answer_running` while another answer runs.
     */
    open: (owner: string, turn: Turn, limit = historyLimit): Promise<PastMessage[]> =>
      asConflict(openTurn.execute({ owner, ...turn, scope: toJson(turn.scope), limit })),

    /**
     * Replaces the answer to the conversation's last question with an empty running one. Returns that question with its
     * scope, or undefined if `questionId` is not the last one. A given scope replaces the stored one. Throws
     * `ConflictError` (`answer_running`).
     */
    reopen: (owner: string, turn: ReopenedTurn): Promise<StoredQuestion | undefined> => reopenTurn(db, owner, turn),

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
  const scope = sql`${placeholder('scope')}::jsonb`
  const question = { ...key, id: placeholder('questionId'), content: placeholder('question'), scope }
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
  return selectHistory(db.with(conversation, turn), inConversation).prepare('open_turn')
}

async function reopenTurn(db: Db, owner: string, turn: ReopenedTurn): Promise<StoredQuestion | undefined> {
  const { conversationId, questionId, answerId } = turn
  const scope = sql`${toJson(turn.scope)}::jsonb`
  const rows = await asConflict(
    db.execute<StoredQuestion>(sql`
      with last_question as (
        select id, position, content, scope from ${messages}
        where owner_id = ${owner} and conversation_id = ${conversationId} and role = 'user'
        order by position desc limit 1
      ), question as (
        select position, content, coalesce(${scope}, scope) as scope from last_question where id = ${questionId}
      ), scoped as (
        update ${messages} set scope = ${scope} from question
        where owner_id = ${owner} and conversation_id = ${conversationId} and id = ${questionId}
          and ${scope} is not null
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
      returning (select content from question) as question, (select scope from question) as scope`),
  )
  return rows.at(0)
}

const toJson = (scope: Scope | undefined) => (scope ? JSON.stringify(scope) : null)

function prepareHistory(db: Db) {
  const question = db
    .select({ position: messages.position })
    .from(messages)
    .where(and(inConversation, eq(messages.id, placeholder('questionId'))))
  return selectHistory(db, and(inConversation, lt(messages.position, question))).prepare('turn_history')
}

/** Selects messages with text, newest first. */
function selectHistory(query: Pick<Db, 'select'>, condition: SQL | undefined) {
  return query
    .select({ role: messages.role, content: messages.content })
    .from(messages)
    .where(and(condition, ne(messages.content, '')))
    .orderBy(desc(messages.position))
    .limit(placeholder('limit'))
}
