import { sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { type Days, mergeDays, readUsage, storeCounts, type UsageRow } from './model-usage.ts'
import { owners, usage } from './schema.ts'

/** The usage of an owner: `requests` in one minute, and `streams`, the number of running answers. */
export type Usage = { requests: number; streams: number }

/** The usage that this process has accepted. `minute` is the start of the minute of `requests`. */
type OwnUsage = Usage & { owner: string; minute: Date }

/** Creates the queries by which API processes share usage, so that quotas apply across all of them. */
export function createUsage(db: Db) {
  return {
    /**
     * Stores the usage on this process, and returns the usage on all other processes by owner, in one statement. Streams
     * of a process that has not synced for `freshMs` are not counted, because it has crashed. Deleted owners are returned
     * but not stored. The same statement stores what models were used for.
     */
    sync: (processId: string, own: OwnUsage[], freshMs: number, counted: UsageRow[] = []) =>
      sync(db, processId, own, freshMs, counted),

    /** Stores what models were used for, on a process without quotas. */
    store: async (counted: UsageRow[]): Promise<void> => {
      if (counted.length > 0) await db.execute(storeCounts(counted))
    },

    /** Returns what an owner used models for, by model, kind and, if wanted, by day. */
    read: (owner: string, days: Days, by: 'day' | 'model') => readUsage(db, owner, days, by),

    /** Merges the rows of days that are over. Returns how many were merged. */
    merge: () => mergeDays(db),

    /** Deletes rows that were not updated for two minutes, which no quota counts any longer. */
    sweep: async (): Promise<void> => {
      await db.delete(usage).where(sql`${usage.updatedAt} < now() - interval '2 minutes'`)
    },
  }
}

/** Sends all rows as one JSON parameter, as in answers.ts. Each process writes only its own rows, so none waits. */
async function sync(
  db: Db,
  processId: string,
  own: OwnUsage[],
  freshMs: number,
  counted: UsageRow[] = [],
): Promise<Map<string, Usage>> {
  const models = counted.length > 0 ? sql`, models as (${storeCounts(counted)})` : sql.empty()
  const rows = await db.execute<Usage & { owner: string }>(sql`
    with own as (
      select * from jsonb_to_recordset(${JSON.stringify(own)}::jsonb)
        as own(owner uuid, minute timestamptz, requests int, streams int)
    ), stored as (
      insert into ${usage} (owner_id, process_id, minute, requests, streams)
      select owner, ${processId}::uuid, minute, requests, streams from own join ${owners} on owners.id = own.owner
      on conflict (owner_id, process_id) do update set minute = excluded.minute, requests = excluded.requests,
        streams = excluded.streams, updated_at = now()
    )${models}
    select own.owner,
      coalesce(sum(other.requests) filter (where other.minute = own.minute), 0)::int as requests,
      coalesce(sum(other.streams) filter (
        where other.updated_at > now() - ${freshMs} * interval '1 millisecond'), 0)::int as streams
    from own left join ${usage} as other on other.owner_id = own.owner and other.process_id <> ${processId}::uuid
    group by own.owner`)
  return new Map(rows.map(({ owner, requests, streams }) => [owner, { requests, streams }]))
}
