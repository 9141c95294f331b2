import { and, eq, inArray, lt, or, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { inConversation } from './conversations.ts'
import { type MessageStatus, messages, type Source } from './schema.ts'

export type AnswerKey = { conversationId: string; answerId: string }

export type AnswerEnd = {
  content: string
  status: Exclude<MessageStatus, 'streaming'>
  sources: Source[]
  finishReason: string | null
  inputTokens: number | null
  outputTokens: number | null
  /** Why it failed, in a sentence for its reader. */
  error: string | null
}

/** What a running answer says after its first `after` bytes of UTF-8; its sources when they are new. */
export type Progress = AnswerKey & { owner: string; after: number; addition: string; sources?: Source[] }

/** How far somebody has read an answer. `length` counts characters as Postgres does, which are code points. */
export type Position = AnswerKey & { owner: string; length: number }

/** What is stored of an answer beyond a position: the one at `index` of those that were asked for. */
export type StoredAnswer = {
  index: number
  status: MessageStatus
  addition: string
  length: number
  sources: Source[]
  finishReason: string | null
  error: string | null
}

const { placeholder } = sql
/** Another process may think that this one is dead and mark its answers; they are still its own to go on with. */
const isUnfinished = inArray(messages.status, ['streaming', 'interrupted'])
const isSameEnd = eq(messages.status, placeholder('status'))
const isStreaming = eq(messages.status, 'streaming')

/** The answers that models write: kept while they grow, ended, stopped and read from any process. */
export function createAnswers(db: Db) {
  const finish = prepareFinish(db)
  const findRunning = db
    .select({ id: messages.id })
    .from(messages)
    .where(and(inConversation, isStreaming))
    .prepare('find_running_answer')
  const requestStop = db
    .update(messages)
    .set({ stopRequested: true })
    .where(and(inConversation, isStreaming))
    .returning({ id: messages.id })
    .prepare('request_stop')
  const stopRequests = db
    .select({ id: messages.id })
    .from(messages)
    .where(and(isStreaming, messages.stopRequested))
    .prepare('list_stop_requests')
  return {
    /**
     * Ends a running answer, also one that was taken for abandoned, and again when the caller does not know that it has.
     * False when it is gone or has ended in another way.
     */
    finish: async (owner: string, key: AnswerKey, end: AnswerEnd): Promise<boolean> => {
      const rows = await finish.execute({ owner, ...key, ...end, sources: JSON.stringify(end.sources) })
      return rows.length > 0
    },

    /**
     * Stores what there is of running answers of any owners in one statement. Text only grows: a statement that was given
     * up on, and runs late, changes nothing. Gives the ids of those that it stored: not of those that have ended, are gone
     * or lack text before `after`, nor of those whose row somebody else has locked just now.
     */
    saveProgress: (progress: Progress[]) => saveProgress(db, progress),

    /** Marks answers as interrupted whose process has said nothing for `silentMs`: it died. */
    interruptAbandoned: async (silentMs: number): Promise<void> => {
      const isSilent = lt(messages.heartbeatAt, sql`now() - ${silentMs} * interval '1 millisecond'`)
      await db.update(messages).set({ status: 'interrupted' }).where(and(isStreaming, isSilent))
    },

    /** The id of the conversation's running answer, whichever process writes it. */
    findRunning: async (owner: string, conversationId: string): Promise<string | undefined> =>
      (await findRunning.execute({ owner, conversationId })).at(0)?.id,

    /** What is stored of answers of any owners beyond what their readers have, in one statement; of those that are there. */
    read: (positions: Position[]) => readAnswers(db, positions),

    /** Asks the process that writes the conversation's running answer to stop. Gives the answer's id when one runs. */
    requestStop: async (owner: string, conversationId: string): Promise<string | undefined> =>
      (await requestStop.execute({ owner, conversationId })).at(0)?.id,

    /** The ids of all running answers that were asked to stop. */
    listStopRequests: async (): Promise<string[]> => (await stopRequests.execute()).map(({ id }) => id),

    /** Ends a running answer whose process does not: a process that is alive after all will notice. */
    stopAbandoned: async (owner: string, { conversationId, answerId }: AnswerKey): Promise<void> => {
      const isInConversation = and(eq(messages.ownerId, owner), eq(messages.conversationId, conversationId))
      await db
        .update(messages)
        .set({ status: 'stopped' })
        .where(and(isInConversation, eq(messages.id, answerId), isStreaming))
    },
  }
}

function prepareFinish(db: Db) {
  return db
    .update(messages)
    .set({
      content: sql`${placeholder('content')}`,
      status: sql`${placeholder('status')}`,
      sources: sql`${placeholder('sources')}::jsonb`,
      finishReason: sql`${placeholder('finishReason')}`,
      inputTokens: sql`${placeholder('inputTokens')}::int`,
      outputTokens: sql`${placeholder('outputTokens')}::int`,
      error: sql`${placeholder('error')}`,
      heartbeatAt: sql`'epoch'`, // progress that was under way comes too late, also for one that ends as interrupted
    })
    .where(and(inConversation, eq(messages.id, placeholder('answerId')), or(isUnfinished, isSameEnd)))
    .returning({ id: messages.id })
    .prepare('finish_answer')
}

/**
 * The rows travel as one JSON parameter: a list of VALUES would be another statement for each number of answers. One that
 * is locked is left out, or it would hold up all the others. Bytes, because Postgres knows a text's size without reading it.
 */
async function saveProgress(db: Db, progress: Progress[]): Promise<Set<string>> {
  const rows = await db.execute<{ id: string }>(sql`
    with saved as (
      select saved.*
      from jsonb_to_recordset(${JSON.stringify(progress)}::jsonb)
        as saved(owner uuid, "conversationId" text, "answerId" text, after int, addition text, sources jsonb)
      join ${messages} as running on running.owner_id = saved.owner
        and running.conversation_id = saved."conversationId" and running.id = saved."answerId"
      where running.status in ('streaming', 'interrupted') and running.heartbeat_at > 'epoch'
        and octet_length(running.content) >= saved.after
      for update of running skip locked
    )
    update ${messages} set heartbeat_at = now(), sources = coalesce(saved.sources, messages.sources),
      content = case
        when octet_length(messages.content) >= saved.after + octet_length(saved.addition) then messages.content
        when octet_length(messages.content) = saved.after then messages.content || saved.addition
        else convert_from(substring(convert_to(messages.content, 'UTF8') for saved.after), 'UTF8') || saved.addition end
    from saved
    where owner_id = saved.owner and conversation_id = saved."conversationId" and messages.id = saved."answerId"
    returning messages.id`)
  return new Set(rows.map((row) => row.id))
}

async function readAnswers(db: Db, positions: Position[]): Promise<StoredAnswer[]> {
  const readers = positions.map((position, index) => ({ ...position, index }))
  return db.execute<StoredAnswer>(sql`
    select reader.index, status, sources, finish_reason as "finishReason", error, length(content)::int as length,
      substr(content, reader.length + 1) as addition
    from jsonb_to_recordset(${JSON.stringify(readers)}::jsonb)
      as reader(index int, owner uuid, "conversationId" text, "answerId" text, length int)
    join ${messages} on owner_id = reader.owner and conversation_id = reader."conversationId"
      and id = reader."answerId" and role = 'assistant'`)
}
