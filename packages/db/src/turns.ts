import { and, desc, eq, lt, ne, type SQL, sql } from 'drizzle-orm'
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

export type PastMessage = { role: 'user' | 'assistant'; content: string }

const { placeholder } = sql
const historyLimit = 50 // messages; a prompt's own budget is tighter

/** One question and its answer: what `POST /chat` reads and writes. */
export function createTurns(db: Db) {
  const openTurn = prepareOpenTurn(db)
  const history = prepareHistory(db)
  return {
    /**
     * Stores a question and an empty running answer, and the conversation when it is new. Gives at most `limit` messages
     * before the question, newest first, those without text left out. All in one statement.
     * Throws `ConflictError`: `message_exists` when the question's id is stored, `answer_running` while another runs.
     */
    open: (owner: string, turn: Turn, limit = historyLimit): Promise<PastMessage[]> =>
      asConflict(openTurn.execute({ owner, ...turn, limit })),

    /**
     * Puts an empty running answer in the place of the answer to the conversation's last question. Gives that question,
     * or undefined when `questionId` is not the last one. Throws `ConflictError` (`answer_running`).
     */
    reopen: (owner: string, turn: Pick<Turn, 'conversationId' | 'questionId' | 'answerId'>) =>
      reopenTurn(db, owner, turn),

    /** The messages before a question that is stored, as `open` gives them. */
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
  // A statement sees nothing of what it inserts itself: these are the messages before the question.
  return selectHistory(db.with(conversation, turn), inConversation).prepare('open_turn')
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

/** Newest first, without answers that have no text. */
function selectHistory(query: Pick<Db, 'select'>, condition: SQL | undefined) {
  return query
    .select({ role: messages.role, content: messages.content })
    .from(messages)
    .where(and(condition, ne(messages.content, '')))
    .orderBy(desc(messages.position))
    .limit(placeholder('limit'))
}
