import { sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { owners, usage } from './schema.ts'

/** What an owner has done. `requests` are those of one minute, `streams` the answers that are written now. */
export type Usage = { requests: number; streams: number }

/** What this process has let an owner do; `minute` is the start of that in which `requests` were counted. */
type OwnUsage = Usage & { owner: string; minute: Date }

/** What the API processes tell each other of their owners, so that limits hold for all of them together. */
export function createUsage(db: Db) {
  return {
    /**
     * Tells what this process has let owners do and gives what the others have, by owner, in one statement for all. Of
     * a process that has said nothing for `freshMs` no streams count: it died. An owner who is gone is in the answer, and
     * is not stored.
     */
    exchange: (processId: string, own: OwnUsage[], freshMs: number) => exchange(db, processId, own, freshMs),

    /** Removes what no limit counts any more: rows that nobody has renewed for two minutes. */
    sweep: async (): Promise<void> => {
      await db.delete(usage).where(sql`${usage.updatedAt} < now() - interval '2 minutes'`)
    },
  }
}

/** The rows travel as one JSON parameter, as in answers.ts. Each process writes its own alone: none waits for another. */
async function exchange(db: Db, processId: string, own: OwnUsage[], freshMs: number): Promise<Map<string, Usage>> {
  const rows = await db.execute<Usage & { owner: string }>(sql`
    with own as (
      select * from jsonb_to_recordset(${JSON.stringify(own)}::jsonb)
        as own(owner uuid, minute timestamptz, requests int, streams int)
    ), told as (
      insert into ${usage} (owner_id, process_id, minute, requests, streams)
      select owner, ${processId}::uuid, minute, requests, streams from own join ${owners} on owners.id = own.owner
      on conflict (owner_id, process_id) do update set minute = excluded.minute, requests = excluded.requests,
        streams = excluded.streams, updated_at = now()
    )
    select own.owner,
      coalesce(sum(other.requests) filter (where other.minute = own.minute), 0)::int as requests,
      coalesce(sum(other.streams) filter (
        where other.updated_at > now() - ${freshMs} * interval '1 millisecond'), 0)::int as streams
    from own left join ${usage} as other on other.owner_id = own.owner and other.process_id <> ${processId}::uuid
    group by own.owner`)
  return new Map(rows.map(({ owner, requests, streams }) => [owner, { requests, streams }]))
}
