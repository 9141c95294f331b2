import { and, eq, sql } from 'drizzle-orm'
import type { AnswerKey } from './answers.ts'
import type { Db } from './client.ts'
import { inConversation } from './conversations.ts'
import { asConflict } from './errors.ts'
import { addFiles, type NewFile } from './files.ts'
import { type PastMessage, prepareHistory, selectHistory } from './history.ts'
import type { StoredMessage } from './parts.ts'
import { conversations, messageFiles, messages, type Scope, type Source, type StoredPart } from './schema.ts'

export type Turn = {
  conversationId: string
  /** Used when this turn creates the conversation. */
  title: string
  questionId: string
  question: string
  /** The order of the question's texts and files. Unset: the question is its text alone. */
  parts?: StoredPart[] | undefined
  /** The files that `parts` names. */
  files?: NewFile[] | undefined
  /** Stored with the question. */
  scope?: Scope | undefined
  answerId: string
}

export type StoredQuestion = { question: string; parts: StoredPart[] | null; scope: Scope | null }

/** An answer that waits for its client: for the output of a tool, or for an approval. `scope` is that of its question. */
export type WaitingAnswer = StoredMessage & {
  sources: Source[]
  scope: Scope | null
  model: string | null
  inputTokens: number | null
  outputTokens: number | null
  cachedTokens: number | null
}

type ReopenedTurn = Pick<Turn, 'conversationId' | 'questionId' | 'scope' | 'answerId'> & {
  /** The new text of an edited question, with its new parts and files. */
  question?: string | undefined
  parts?: StoredPart[] | undefined
  files?: NewFile[] | undefined
}

const { placeholder } = sql
const isWaiting = and(
  inConversation,
  eq(messages.id, placeholder('answerId')),
  eq(messages.status, 'complete'),
  eq(messages.finishReason, 'tool-calls'),
)
/** Each time that it waits, it has more parts. */
const isUnchanged = sql`coalesce(json_array_length(${messages.parts}), 0) = ${placeholder('count')}::int`
const scopeOfQuestion = sql<Scope | null>`(
  select question.scope from messages as question
  where question.owner_id = messages.owner_id and question.conversation_id = messages.conversation_id
    and question.role = 'user' and question.position < messages.position
  order by question.position desc limit 1)`
const historyLimit = 100 // messages; the prompt's budget is usually reached first

/** Creates the queries on turns. A turn is one question with its answer. */
export function createTurns(db: Db) {
  const openTurn = prepareOpenTurn(db)
  const history = prepareHistory(db)
  const readWaiting = db
    .select({
      content: messages.content,
      parts: messages.parts,
      sources: messages.sources,
      model: messages.model,
      inputTokens: messages.inputTokens,
      outputTokens: messages.outputTokens,
      cachedTokens: messages.cachedTokens,
      scope: scopeOfQuestion,
    })
    .from(messages)
    .where(isWaiting)
    .prepare('read_waiting_answer')
  const continueAnswer = db
    .update(messages)
    .set({ status: 'streaming', finishReason: null, heartbeatAt: sql`now()`, stopRequested: false })
    .where(and(isWaiting, isUnchanged))
    .returning({ id: messages.id })
    .prepare('continue_answer')
  return {
    /**
     * Stores a question with an empty running answer, and creates the conversation if necessary. Returns the newest
     * earlier messages that have text, newest first. All in one statement, or in one transaction if there are files.
     * `limit` is their maximum number. When it is exceeded, the older half is omitted at once, so that the first message
     * stays the same for many turns.
     * Throws `ConflictError`: `message_exists` if the question's id exists, `answer_running` while another answer runs.
     */
    open: (owner: string, { files = [], ...turn }: Turn, limit = historyLimit): Promise<PastMessage[]> => {
      const values = { owner, ...turn, parts: toJson(turn.parts), scope: toJson(turn.scope), limit }
      if (files.length === 0) return asConflict(openTurn.execute(values))
      return asConflict(
        db.transaction(async (tx) => {
          const past = await prepareOpenTurn(tx).execute(values)
          await addFiles(tx, owner, { ...turn, messageId: turn.questionId }, files)
          return past
        }),
      )
    },

    /**
     * Replaces everything after a question with an empty running answer, and its scope and its text with its files if they
     * are given. Returns the question with its scope, or undefined if it does not exist. Throws `ConflictError`
     * (`answer_running`).
     */
    reopen: (owner: string, { files = [], ...turn }: ReopenedTurn): Promise<StoredQuestion | undefined> => {
      if (files.length === 0) return asConflict(reopenTurn(db, owner, turn))
      return asConflict(
        db.transaction(async (tx) => {
          const reopened = await reopenTurn(tx, owner, turn)
          if (reopened) await addFiles(tx, owner, { ...turn, messageId: turn.questionId }, files)
          return reopened
        }),
      )
    },

    /** Returns a complete answer if it waits for its client. */
    readWaiting: async (owner: string, key: AnswerKey): Promise<WaitingAnswer | undefined> =>
      (await readWaiting.execute({ owner, ...key })).at(0),

    /**
     * Makes a waiting answer run again. Returns false if it does not wait, or no longer has `count` stored parts. Throws
     * `ConflictError` (`answer_running`).
     */
    continue: async (owner: string, key: AnswerKey, count: number): Promise<boolean> =>
      (await asConflict(continueAnswer.execute({ owner, ...key, count }))).length > 0,

    /** Returns the messages before a stored question, as `open` does. */
    history: (
      owner: string,
      conversationId: string,
      questionId: string,
      limit = historyLimit,
    ): Promise<PastMessage[]> => history.execute({ owner, conversationId, questionId, limit }),
  }
}

type Queries = Pick<Db, 'select' | 'insert' | '$with' | 'with'>

function prepareOpenTurn(db: Queries) {
  const conversation = db.$with('conversation').as(
    db
      .insert(conversations)
      .values({ ownerId: placeholder('owner'), id: placeholder('conversationId'), title: placeholder('title') })
      .onConflictDoUpdate({ target: [conversations.ownerId, conversations.id], set: { updatedAt: sql`now()` } })
      .returning({ id: conversations.id }),
  )
  const key = { ownerId: placeholder('owner'), conversationId: placeholder('conversationId') }
  const [parts, scope] = [sql`${placeholder('parts')}::jsonb`, sql`${placeholder('scope')}::jsonb`]
  const question = { ...key, id: placeholder('questionId'), content: placeholder('question'), parts, scope }
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

async function reopenTurn(
  db: Pick<Db, 'execute'>,
  owner: string,
  turn: ReopenedTurn,
): Promise<StoredQuestion | undefined> {
  const { conversationId, questionId, answerId, question: text = null } = turn
  const isEdit = sql`${text}::text is not null`
  const rows = await db.execute<StoredQuestion>(sql`
    with question as (
      update ${messages} set content = coalesce(${text}, content), scope = coalesce(${toJson(turn.scope)}::jsonb, scope),
        parts = case when ${isEdit} then ${toJson(turn.parts)}::json else parts end
      where owner_id = ${owner} and conversation_id = ${conversationId} and id = ${questionId} and role = 'user'
      returning position, content, parts, scope
    ), replaced as (
      delete from ${messages} using question
      where owner_id = ${owner} and conversation_id = ${conversationId}
        and messages.position > question.position and status <> 'streaming'
    ), replaced_files as (
      delete from ${messageFiles} using question
      where owner_id = ${owner} and conversation_id = ${conversationId} and message_id = ${questionId} and ${isEdit}
    ), touched as (
      update ${conversations} set updated_at = now() from question
      where owner_id = ${owner} and id = ${conversationId}
      returning id
    )
    insert into ${messages} (owner_id, conversation_id, id, role, content, status)
    select ${owner}::uuid, ${conversationId}, ${answerId}, 'assistant', '', 'streaming' from question, touched
    returning (select content from question) as question, (select parts from question) as parts,
      (select scope from question) as scope`)
  return rows.at(0)
}

const toJson = (value: Scope | StoredPart[] | undefined) => (value ? JSON.stringify(value) : null)
