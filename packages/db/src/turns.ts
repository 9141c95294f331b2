import { and, desc, eq, inArray, lt, ne, or, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { inConversation } from './conversations.ts'
import { asConflict } from './errors.ts'
import { conversations, type MessageStatus, messages, type Source } from './schema.ts'

export type Turn = {
  conversationId: string
  /** Used when this turn creates the conversation. */
  title: string
  questionId: string
  question: string
  answerId: string
}

export type AnswerKey = { conversationId: string; answerId: string }

export type AnswerEnd = {
  content: string
  status: Exclude<MessageStatus, 'streaming'>
  sources: Source[]
  finishReason: string | null
  inputTokens: number | null
  outputTokens: number | null
}

/** The text so far of a running answer: all of it, or what comes after the text that is stored. */
export type Progress = AnswerKey & { owner: string } & ({ content: string } | { addition: string })

export type PastMessage = { role: 'user' | 'assistant'; content: string }

const { placeholder } = sql
/** Another process may think that this one is dead and mark its answers; they are still its own to go on with. */
const isUnfinished = inArray(messages.status, ['streaming', 'interrupted'])

const isSameEnd = eq(messages.status, placeholder('status'))

/** One question and its answer: what `POST /chat` reads and writes. */
export function createTurns(db: Db) {
  const openTurn = prepareOpenTurn(db)
  const history = prepareHistory(db)
  const finishAnswer = prepareFinishAnswer(db)
  return {
    /**
     * Stores a question and an empty running answer, and the conversation when it is new, in one statement.
     * Throws `ConflictError`: `message_exists` when the question's id is stored, `answer_running` while another runs.
     */
    open: async (owner: string, turn: Turn): Promise<void> => {
      await asConflict(openTurn.execute({ owner, ...turn }))
    },

    /**
     * Puts an empty running answer in the place of the answer to the conversation's last question. Gives that question,
     * or undefined when `questionId` is not the last one. Throws `ConflictError` (`answer_running`).
     */
    reopen: (owner: string, turn: Pick<Turn, 'conversationId' | 'questionId' | 'answerId'>) =>
      reopenTurn(db, owner, turn),

    /** The messages before a question, newest first. Answers without text are left out. */
    history: (owner: string, conversationId: string, questionId: string, limit: number): Promise<PastMessage[]> =>
      history.execute({ owner, conversationId, questionId, limit }),

    /**
     * Ends a running answer, also one that was taken for abandoned, and again when the caller does not know that it has.
     * False when it is gone or has ended in another way.
     */
    finish: async (owner: string, key: AnswerKey, end: AnswerEnd): Promise<boolean> => {
      const rows = await finishAnswer.execute({ owner, ...key, ...end, sources: JSON.stringify(end.sources) })
      return rows.length > 0
    },

    /** Stores the text so far of running answers of any owners in one statement. Gives the ids of those that still run. */
    saveProgress: (progress: Progress[]) => saveProgress(db, progress),

    /** Marks answers as interrupted whose process has said nothing for `silentMs`: it died. */
    interruptAbandoned: async (silentMs: number): Promise<void> => {
      const isSilent = lt(messages.heartbeatAt, sql`now() - ${silentMs} * interval '1 millisecond'`)
      await db
        .update(messages)
        .set({ status: 'interrupted' })
        .where(and(eq(messages.status, 'streaming'), isSilent))
    },
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
  return db
    .with(conversation)
    .insert(messages)
    .values([
      { ...question, role: 'user', status: 'complete' },
      { ...answer, role: 'assistant', status: 'streaming' },
    ])
    .prepare('open_turn')
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
  return db
    .select({ role: messages.role, content: messages.content })
    .from(messages)
    .where(and(inConversation, lt(messages.position, question), ne(messages.content, '')))
    .orderBy(desc(messages.position))
    .limit(placeholder('limit'))
    .prepare('turn_history')
}

function prepareFinishAnswer(db: Db) {
  return db
    .update(messages)
    .set({
      content: sql`${placeholder('content')}`,
      status: sql`${placeholder('status')}`,
      sources: sql`${placeholder('sources')}::jsonb`,
      finishReason: sql`${placeholder('finishReason')}`,
      inputTokens: sql`${placeholder('inputTokens')}::int`,
      outputTokens: sql`${placeholder('outputTokens')}::int`,
      heartbeatAt: sql`'epoch'`, // progress that was under way comes too late, also for one that ends as interrupted
    })
    .where(and(inConversation, eq(messages.id, placeholder('answerId')), or(isUnfinished, isSameEnd)))
    .returning({ id: messages.id })
    .prepare('finish_answer')
}

/** The rows travel as one JSON parameter: a list of VALUES would be another statement for each number of answers. */
async function saveProgress(db: Db, progress: Progress[]): Promise<Set<string>> {
  const rows = await db.execute<{ id: string }>(sql`
    update ${messages} set heartbeat_at = now(), content = coalesce(saved.content,
      case saved.addition when '' then messages.content else messages.content || saved.addition end)
    from jsonb_to_recordset(${JSON.stringify(progress)}::jsonb)
      as saved(owner uuid, "conversationId" text, "answerId" text, content text, addition text)
    where owner_id = saved.owner and conversation_id = saved."conversationId"
      and messages.id = saved."answerId" and status in ('streaming', 'interrupted') and heartbeat_at > 'epoch'
    returning messages.id`)
  return new Set(rows.map((row) => row.id))
}
