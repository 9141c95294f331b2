import { sql } from 'drizzle-orm'
import type { Db } from './client.ts'

/** What Postgres knows about `chunks` from its last ANALYZE. */
export type Statistics = {
  /** The number of chunks of all owners. */
  total: number
  /** The number of chunks of the largest owners. */
  byOwner: Map<string, number>
  /** The number of chunks of the most common terms. */
  byTerm: Map<number, number>
  /** The number of chunks of the least common of these terms. */
  rarest: number
}

/** Autovacuum analyzes a table at most once per minute. */
const lifetimeMs = 60_000

/** Returns a function that reads the statistics of `chunks`, at most once per minute. */
export function createStatistics(db: Db): () => Promise<Statistics> {
  let [known, readAt]: [Promise<Statistics> | undefined, number] = [undefined, 0]
  return () => {
    if (known && performance.now() - readAt < lifetimeMs) return known
    readAt = performance.now()
    const reading = readStatistics(db)
    known = reading
    reading.catch(() => {
      if (known === reading) known = undefined // the next search tries again
    })
    return reading
  }
}

type Row = { total: number; owners: Record<string, number> | null; terms: Record<string, number> | null }

async function readStatistics(db: Db): Promise<Statistics> {
  // The columns of pg_stats have the type `anyarray`, which can be cast to text only.
  const shares = (column: string, values: string, frequencies: string) => sql`(
    select json_object_agg(value, share)
    from pg_stats, unnest(${sql.raw(values)}::text::text[], ${sql.raw(frequencies)}) as common (value, share)
    where schemaname = current_schema() and tablename = 'chunks' and attname = ${column} and value is not null)`
  const [row] = await db.execute<Row>(sql`
    select greatest(reltuples, 0) as total,
      ${shares('owner_id', 'most_common_vals', 'most_common_freqs')} as owners,
      ${shares('terms', 'most_common_elems', 'most_common_elem_freqs')} as terms
    from pg_class where oid = 'chunks'::regclass`)
  const { total, owners, terms } = row ?? { total: 0, owners: null, terms: null }
  const toCount = (share: number) => Math.round(share * total)
  const byTerm = new Map(Object.entries(terms ?? {}).map(([term, share]) => [Number(term), toCount(share)]))
  return {
    total,
    byOwner: new Map(Object.entries(owners ?? {}).map(([owner, share]) => [owner, toCount(share)])),
    byTerm,
    rarest: byTerm.size > 0 ? Math.min(...byTerm.values()) : 0,
  }
}
