import { and, eq, inArray, lt, or, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { inConversation } from './conversations.ts'
import { type MessageStatus, messages, type Source } from './schema.ts'

export type AnswerKey = { conversationId: string; answerId: string }

export type AnswerEnd = {
  content: string
  status: Exclude<MessageStatus, 'streaming'>
  sources: Source[]
  /** The name of the chat model that wrote it, if one was called. */
  model?: string | undefined
  finishReason: string | null
  inputTokens: number | null
  outputTokens: number | null
  /** Why the answer failed, as a sentence for users. */
  error: string | null
}

/** The text of a running answer after its first `after` bytes of UTF-8. Sources are set when they are new. */
export type Progress = AnswerKey & { owner: string; after: number; addition: string; sources?: Source[] }

/** A reader's position in an answer. `length` counts code points, as Postgres does. */
export type Position = AnswerKey & { owner: string; length: number }

/** The stored part of an answer after a position. `index` refers to the list of requested positions. */
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
/** Another process may have marked answers of this process as abandoned. This process may still continue them. */
const isUnfinished = inArray(messages.status, ['streaming', 'interrupted'])
const isSameEnd = eq(messages.status, placeholder('status'))
const isStreaming = eq(messages.status, 'streaming')

/** Stores the answers of models: their progress, their end and stop requests, readable from any process. */
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
     * Ends a running answer. Also works if it was marked as abandoned, and may be repeated if the outcome is unknown.
     * Returns false if the answer is gone or ended in another way.
     */
    finish: async (owner: string, key: AnswerKey, end: AnswerEnd): Promise<boolean> => {
      const rows = await finish.execute({
        owner,
        ...key,
        ...end,
        model: end.model ?? null,
        sources: JSON.stringify(end.sources),
      })
      return rows.length > 0
    },

    /**
     * Stores the progress of running answers of any owners in one statement. Text only grows, so a timed-out statement
     * that runs late changes nothing. Returns the ids of the stored answers: not those that have ended, are gone, lack
     * text before `after`, or have a locked row.
     */
    saveProgress: (progress: Progress[]) => saveProgress(db, progress),

    /** Marks answers as interrupted if their process sent no heartbeat for `silentMs`, which means it crashed. */
    interruptAbandoned: async (silentMs: number): Promise<void> => {
      const isSilent = lt(messages.heartbeatAt, sql`now() - ${silentMs} * interval '1 millisecond'`)
      await db.update(messages).set({ status: 'interrupted' }).where(and(isStreaming, isSilent))
    },

    /** Returns the id of the conversation's running answer, whichever process generates it. */
    findRunning: async (owner: string, conversationId: string): Promise<string | undefined> =>
      (await findRunning.execute({ owner, conversationId })).at(0)?.id,

    /**
     * Returns what is stored of answers of any owners beyond their readers' positions, in one statement. Skips missing
     * answers.
     */
    read: (positions: Position[]) => readAnswers(db, positions),

    /**
     * Asks the process that generates the conversation's running answer to stop. Returns the answer's id if one is
     * running.
     */
    requestStop: async (owner: string, conversationId: string): Promise<string | undefined> =>
      (await requestStop.execute({ owner, conversationId })).at(0)?.id,

    /** Returns the ids of all running answers with a stop request. */
    listStopRequests: async (): Promise<string[]> => (await stopRequests.execute()).map(({ id }) => id),

    /** Ends a running answer whose process does not respond. If the process is still running, it will notice. */
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
      model: sql`${placeholder('model')}`,
      finishReason: sql`${placeholder('finishReason')}`,
      inputTokens: sql`${placeholder('inputTokens')}::int`,
      outputTokens: sql`${placeholder('outputTokens')}::int`,
      error: sql`${placeholder('error')}`,
      heartbeatAt: sql`'epoch'`, // rejects late progress, also for an answer that ends as interrupted
    })
    .where(and(inConversation, eq(messages.id, placeholder('answerId')), or(isUnfinished, isSameEnd)))
    .returning({ id: messages.id })
    .prepare('finish_answer')
}

/**
 * The rows are passed as one JSON parameter, because a VALUES list would be a different statement for each row count.
 * Locked rows are skipped, otherwise one would delay all others. Lengths are in bytes, because Postgres knows a text's
 * byte size without reading it.
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
