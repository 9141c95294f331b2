import { setTimeout as sleep } from 'node:timers/promises'
import { and, eq, exists, inArray, lt, or, type SQL, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { inConversation } from './conversations.ts'
import { addPieces, measureParts, type Piece, toStored } from './parts.ts'
import { selectPieces } from './pieces.ts'
import { type AnswerPart, answerPieces, type MessageStatus, messages, type Source, type StoredPart } from './schema.ts'

export type AnswerKey = { conversationId: string; answerId: string }

export type AnswerEnd = {
  parts: readonly AnswerPart[]
  status: Exclude<MessageStatus, 'streaming'>
  sources: Source[]
  /** The name of the chat model that wrote it, if one was called. */
  model?: string | undefined
  finishReason: string | null
  inputTokens: number | null
  outputTokens: number | null
  /** Those of `inputTokens` that the model server read from its prompt cache. Null if it does not report them. */
  cachedTokens: number | null
  /** Why the answer failed, as a sentence for users. */
  error: string | null
}

/** What follows a position of a running answer. Sources are set when they are new. */
export type Progress = AnswerKey & Piece & { owner: string; sources?: Source[] }

/** A reader's position in an answer. `characters` counts the code points of its plain text, as Postgres does. */
export type Position = AnswerKey & { owner: string; position: number; characters: number }

/**
 * An answer as it is stored, and the pieces after a reader's position. `content` begins at the reader's position. `index`
 * refers to the list of requested positions.
 */
export type StoredAnswer = {
  index: number
  status: MessageStatus
  content: string
  parts: StoredPart[] | null
  pieces: Piece[]
  sources: Source[]
  model: string | null
} & Pick<AnswerEnd, 'finishReason' | 'inputTokens' | 'outputTokens' | 'cachedTokens' | 'error'>

const { placeholder } = sql
/** Another process may have marked answers of this process as abandoned. This process may still continue them. */
const isUnfinished = inArray(messages.status, ['streaming', 'interrupted'])
const isSameEnd = eq(messages.status, placeholder('status'))
const isStreaming = sql`${messages.status} = 'streaming'` // not a parameter, which the partial indexes cannot be used with
const previousId = sql<string | null>`(
  select previous.id from messages as previous
  where previous.owner_id = messages.owner_id and previous.conversation_id = messages.conversation_id
    and previous.position < messages.position
  order by previous.position desc limit 1)`

/** Stores the answers of models: their progress, their end and stop requests, readable from any process. */
export function createAnswers(db: Db) {
  const finish = prepareFinish(db)
  const findRunning = db
    .select({ id: messages.id })
    .from(messages)
    .where(and(inConversation, isStreaming))
    .prepare('find_running_answer')
  const findRunningTurn = db
    .select({ answerId: messages.id, questionId: previousId })
    .from(messages)
    .where(and(inConversation, isStreaming))
    .prepare('find_running_turn')
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
      const { content, parts } = toStored(end.parts)
      const json = { parts: parts && JSON.stringify(parts), sources: JSON.stringify(end.sources) }
      const rows = await finish.execute({ owner, ...key, ...end, model: end.model ?? null, content, ...json })
      return rows.length > 0
    },

    /**
     * Stores the progress of running answers of any owners in one statement. A caller that does not know whether it
     * succeeded sends the same position again: the longer piece is kept, so a statement that runs late changes nothing.
     * Returns the ids of the stored answers: not those that have ended, are gone, or have a locked row.
     */
    saveProgress: (progress: Progress[]) => saveProgress(db, progress),

    /**
     * Ends answers as interrupted if their process sent no heartbeat for `silentMs`, which means it crashed. They are
     * checked again after `confirmMs`: when the database's clock is stepped forward, all seem silent until their next
     * heartbeat.
     */
    interruptAbandoned: (silentMs: number, confirmMs = 0) => interruptAbandoned(db, silentMs, confirmMs),

    /** Returns the id of the conversation's running answer, whichever process generates it. */
    findRunning: async (owner: string, conversationId: string): Promise<string | undefined> =>
      (await findRunning.execute({ owner, conversationId })).at(0)?.id,

    /** Returns the ids of the conversation's running answer and of its question. */
    findRunningTurn: async (owner: string, conversationId: string) =>
      (await findRunningTurn.execute({ owner, conversationId })).at(0),

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
      const isIt = and(isInConversation, eq(messages.id, answerId))
      for (const abandoned of await listRunning(db, isIt)) await end(db, abandoned, 'stopped')
    },
  }
}

const inOneRound = 20 // answers of up to 1 MB in memory

async function interruptAbandoned(db: Db, silentMs: number, confirmMs: number): Promise<void> {
  const { id, heartbeatAt } = messages
  const isSilent = lt(heartbeatAt, sql`now() - ${silentMs} * interval '1 millisecond'`)
  const anyOrder = sql`random()` // other processes do the same, and each begins elsewhere
  const silent = await db.select({ id }).from(messages).where(and(isStreaming, isSilent)).orderBy(anyOrder)
  if (silent.length > 0) await sleep(confirmMs)
  for (let from = 0; from < silent.length; from += inOneRound) {
    const round = silent.slice(from, from + inOneRound).map((answer) => answer.id)
    const abandoned = await listRunning(db, and(inArray(id, round), isSilent))
    for (const answer of abandoned) await end(db, answer, 'interrupted', isSilent)
  }
}

/** Returns running answers with their pieces. */
function listRunning(db: Db, condition: SQL | undefined) {
  const { ownerId, conversationId, id, content, parts } = messages
  return db
    .select({ ownerId, conversationId, id, content, parts, pieces: selectPieces() })
    .from(messages)
    .where(and(isStreaming, condition))
}

type Abandoned = Awaited<ReturnType<typeof listRunning>>[number]

/** Ends an answer on behalf of its process, with the text that is stored. */
async function end(db: Db, answer: Abandoned, status: MessageStatus, condition?: SQL): Promise<void> {
  const { content, parts } = addPieces(answer, answer.pieces)
  const { ownerId, conversationId, id } = answer
  const isIt = and(eq(messages.ownerId, ownerId), eq(messages.conversationId, conversationId), eq(messages.id, id))
  const ended = db.$with('ended').as(
    db
      .update(messages)
      .set({ status, content, parts })
      .where(and(isIt, isStreaming, condition))
      .returning({ id: messages.id }),
  )
  await db
    .with(ended)
    .delete(answerPieces)
    .where(and(isPieceOf(answer), exists(db.select().from(ended))))
}

function isPieceOf({ ownerId, conversationId, id }: Pick<Abandoned, 'ownerId' | 'conversationId' | 'id'>) {
  const isInConversation = and(eq(answerPieces.ownerId, ownerId), eq(answerPieces.conversationId, conversationId))
  return and(isInConversation, eq(answerPieces.messageId, id))
}

function prepareFinish(db: Db) {
  const { ownerId, conversationId, messageId } = answerPieces
  const isIts = and(eq(ownerId, placeholder('owner')), eq(conversationId, placeholder('conversationId')))
  const pieces = db.delete(answerPieces).where(and(isIts, eq(messageId, placeholder('answerId'))))
  return db
    .with(db.$with('removed_pieces').as(pieces.returning({ start: answerPieces.start })))
    .update(messages)
    .set({
      content: sql`${placeholder('content')}`,
      parts: sql`${placeholder('parts')}::json`,
      status: sql`${placeholder('status')}`,
      sources: sql`${placeholder('sources')}::jsonb`,
      model: sql`${placeholder('model')}`,
      finishReason: sql`${placeholder('finishReason')}`,
      inputTokens: sql`${placeholder('inputTokens')}::int`,
      outputTokens: sql`${placeholder('outputTokens')}::int`,
      cachedTokens: sql`${placeholder('cachedTokens')}::int`,
      error: sql`${placeholder('error')}`,
      heartbeatAt: sql`'epoch'`, // rejects late progress, also for an answer that ends as interrupted
    })
    .where(and(inConversation, eq(messages.id, placeholder('answerId')), or(isUnfinished, isSameEnd)))
    .returning({ id: messages.id })
    .prepare('finish_answer')
}

/**
 * The rows are passed as one JSON parameter, because a VALUES list would be a different statement for each row count.
 * Locked rows are skipped, otherwise one would delay all others.
 */
async function saveProgress(db: Db, progress: Progress[]): Promise<Set<string>> {
  const pieces = progress.map((piece) => ({ ...piece, length: measureParts(piece.parts) }))
  const rows = await db.execute<{ id: string }>(sql`
    with saved as (
      select saved.*
      from json_to_recordset(${JSON.stringify(pieces)}::json) as saved(owner uuid, "conversationId" text,
        "answerId" text, start int, length int, parts json, sources jsonb)
      join ${messages} as running on running.owner_id = saved.owner
        and running.conversation_id = saved."conversationId" and running.id = saved."answerId"
      where running.status in ('streaming', 'interrupted') and running.heartbeat_at > 'epoch'
      for update of running skip locked
    ), added as (
      insert into ${answerPieces} as piece (owner_id, conversation_id, message_id, start, length, parts)
      select owner, "conversationId", "answerId", start, length, parts from saved where length > 0
      on conflict (owner_id, conversation_id, message_id, start) do update
        set length = excluded.length, parts = excluded.parts where excluded.length > piece.length
    )
    update ${messages} set heartbeat_at = now(), sources = coalesce(saved.sources, messages.sources)
    from saved
    where owner_id = saved.owner and conversation_id = saved."conversationId" and messages.id = saved."answerId"
    returning messages.id`)
  return new Set(rows.map((row) => row.id))
}

async function readAnswers(db: Db, positions: Position[]): Promise<StoredAnswer[]> {
  const readers = positions.map((position, index) => ({ ...position, index }))
  const isNew = sql`piece.start + piece.length > reader.position`
  return db.execute<StoredAnswer>(sql`
    select reader.index, status, sources, model, finish_reason as "finishReason", input_tokens as "inputTokens",
      output_tokens as "outputTokens", cached_tokens as "cachedTokens", error, parts,
      substr(content, reader.characters + 1) as content, ${selectPieces(isNew)} as pieces
    from jsonb_to_recordset(${JSON.stringify(readers)}::jsonb)
      as reader(index int, owner uuid, "conversationId" text, "answerId" text, position int, characters int)
    join ${messages} on owner_id = reader.owner and conversation_id = reader."conversationId"
      and id = reader."answerId" and role = 'assistant'`)
}
