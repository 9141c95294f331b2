import { and, asc, between, eq, type SQL, sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { mergedProcess, modelUsage, owners, type UsageKind } from './schema.ts'

/** What calls of a model used. `estimated` counts the requests whose tokens are an estimate. */
export type UsageCounts = {
  requests: number
  inputTokens: number
  cachedTokens: number
  outputTokens: number
  reasoningTokens: number
  toolCalls: number
  estimated: number
}

/** All that one process has counted of a model, for one owner and key on one day. The counts never decrease. */
export type UsageRow = UsageCounts & {
  owner: string
  day: string
  keyId: string
  kind: UsageKind
  model: string
  processId: string
}

/** The first and the last day, as in 2026-11-30. */
export type Days = { from: string; to: string }

/** `day` is that of the process, and its own counts are left out, because it knows newer ones. */
export type SpentBy = { day: string; processId: string }

/** The tokens that other processes have counted today, for an owner and for one of its keys. */
export type Spent = { owner: number; key: number }

const names = [
  'requests',
  'input_tokens',
  'cached_tokens',
  'output_tokens',
  'reasoning_tokens',
  'tool_calls',
  'estimated',
]
const columns = sql.raw(names.join(', '))
const sums = sql.raw(names.map((name) => `sum(${name})`).join(', '))
const assignAll = (write: (name: string) => string) =>
  sql.raw(names.map((name) => `${name} = ${write(name)}`).join(', '))
/** Midnight in UTC, by the database's clock, so that all processes agree on which days are over. */
const today = sql.raw(`(now() at time zone 'utc')::date`)

/**
 * Inserts or updates the rows of one process. Counts only grow, so a statement that is repeated, or that runs late,
 * changes nothing. Days before yesterday are left out: their rows may have been merged, and would count twice. Sorted,
 * so that two statements never wait for each other.
 */
export function storeCounts(rows: UsageRow[]): SQL {
  return sql`
    insert into ${modelUsage} as stored (owner_id, day, key_id, kind, model, process_id, ${columns})
    select owner, day, "keyId", kind, model, "processId", requests, "inputTokens", "cachedTokens", "outputTokens",
      "reasoningTokens", "toolCalls", estimated
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as counted(owner uuid, day date, "keyId" text, kind text,
      model text, "processId" uuid, requests bigint, "inputTokens" bigint, "cachedTokens" bigint, "outputTokens" bigint,
      "reasoningTokens" bigint, "toolCalls" bigint, estimated bigint)
    join ${owners} on owners.id = counted.owner
    where day >= ${today} - 1
    order by owner, day, "keyId", kind, model, "processId"
    on conflict (owner_id, day, key_id, kind, model, process_id)
      do update set ${assignAll((name) => `greatest(stored.${name}, excluded.${name})`)}`
}

const mergedAtOnce = 10_000 // rows; takes about a second

/**
 * Merges the rows of all processes for days that are over into one row each. Returns how many were merged. They are added
 * and deleted in one statement, so several processes may call this at once. A day is left alone for a day after the last
 * statement that may write to it, so no process can write a row again that has been merged, however long it was paused.
 */
export async function mergeDays(db: Db): Promise<number> {
  const [row] = await db.execute<{ count: number }>(sql`
    with over as (
      select owner_id, day, key_id, kind, model, process_id from ${modelUsage}
      where day < ${today} - 2 and process_id <> ${sql.raw(`'${mergedProcess}'`)}
      limit ${mergedAtOnce} for update skip locked
    ), moved as (
      delete from ${modelUsage} using over
      where model_usage.owner_id = over.owner_id and model_usage.day = over.day and model_usage.key_id = over.key_id
        and model_usage.kind = over.kind and model_usage.model = over.model
        and model_usage.process_id = over.process_id
      returning model_usage.*
    ), added as (
      insert into ${modelUsage} as stored (owner_id, day, key_id, kind, model, process_id, ${columns})
      select owner_id, day, key_id, kind, model, ${mergedProcess}::uuid, ${sums} from moved
      group by owner_id, day, key_id, kind, model
      order by owner_id, day, key_id, kind, model
      on conflict (owner_id, day, key_id, kind, model, process_id)
        do update set ${assignAll((name) => `stored.${name} + excluded.${name}`)}
    )
    select count(*)::int as count from moved`)
  return row?.count ?? 0
}

/**
 * Selects `Spent` as JSON for the owner and key of an outer query, or null unless `condition` holds. Part of the
 * statements that authenticate a request, so a budget costs no statement of its own.
 */
export function selectSpent(owner: SQL, key: SQL, condition: SQL): SQL<Spent | null> {
  const { placeholder } = sql
  return sql<Spent | null>`(case when ${condition} then (
    select json_build_object('owner', coalesce(sum(tokens), 0), 'key', coalesce(sum(tokens) filter (where is_keys), 0))
    from (
      select input_tokens + output_tokens as tokens, key_id = ${key} as is_keys from ${modelUsage}
      where owner_id = ${owner} and day = ${placeholder('day')}::date
        and process_id <> ${placeholder('processId')}::uuid
    ) as today) end)`.mapWith((value) => (typeof value === 'string' ? JSON.parse(value) : value))
}

const sum = (column: SQL | (typeof modelUsage)['requests']) => sql<number>`sum(${column})::float8`
const totals = {
  requests: sum(modelUsage.requests),
  inputTokens: sum(modelUsage.inputTokens),
  cachedTokens: sum(modelUsage.cachedTokens),
  outputTokens: sum(modelUsage.outputTokens),
  reasoningTokens: sum(modelUsage.reasoningTokens),
  toolCalls: sum(modelUsage.toolCalls),
  estimated: sum(modelUsage.estimated),
}

/** Returns what an owner used on these days, by model, kind and, with `by: 'day'`, by day. Sorted by these. */
export function readUsage(db: Db, owner: string, { from, to }: Days, by: 'day' | 'model') {
  const { day, model, kind } = modelUsage
  const groups = by === 'day' ? [day, model, kind] : [model, kind]
  return db
    .select({ day: by === 'day' ? day : sql<string>`''`, model, kind, ...totals })
    .from(modelUsage)
    .where(and(eq(modelUsage.ownerId, owner), between(day, from, to)))
    .groupBy(...groups)
    .orderBy(...groups.map((column) => asc(column)))
}

/** Creates the query of what all owners used. For the CLI only, so not part of the Store. */
export function createUsageReport(db: Db) {
  const { day, model, kind } = modelUsage
  return {
    /** Returns what all owners, or the named one, used on these days. Sorted by day and owner. */
    read: ({ owner, from, to }: Days & { owner?: string | undefined }) =>
      db
        .select({ day, owner: owners.name, model, kind, ...totals })
        .from(modelUsage)
        .innerJoin(owners, eq(owners.id, modelUsage.ownerId))
        .where(and(between(day, from, to), owner === undefined ? undefined : eq(owners.name, owner)))
        .groupBy(day, owners.name, model, kind)
        .orderBy(asc(day), asc(owners.name), asc(model), asc(kind)),
  }
}
