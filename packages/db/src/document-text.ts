import { and, eq, sql } from 'drizzle-orm'
import { isReadableBy } from './chunks.ts'
import type { Db } from './client.ts'
import { documents } from './schema.ts'

const pieceLength = 100_000 // code points; Postgres scans the text from its start for each piece

/**
 * Returns a part of a document's text, with the length of the whole text, or undefined. All positions are in UTF-16 units.
 *
 * Postgres counts code points, not UTF-16 units. Postgres measures pieces of the text, and only the pieces that contain
 * the part are transferred and cut here. Transferring the whole text of a book would block the event loop.
 */
export async function readText(
  db: Db,
  owner: string,
  id: string,
  { start, end }: { start: number; end: number },
  organization?: string,
) {
  const isAsked = and(eq(documents.id, id), isReadableBy(documents.ownerId, owner, organization))
  const isWanted = sql`piece.start < ${end} and piece.start + piece.units > ${start}`
  const [row] = await db.execute<{ title: string; text: string; start: number; length: number }>(sql`
    with document as materialized (select title, text || '' as text from ${documents} where ${isAsked}),
    piece as (
      select number, part, units, sum(units) over (order by number) - units as start
      from document, generate_series(0, (length(document.text) - 1) / ${pieceLength}) as number,
        substring(document.text from number * ${pieceLength} + 1 for ${pieceLength}) as part,
        lateral (select length(part) + regexp_count(part, '[\\U00010000-\\U0010FFFF]') as units) as measured
    )
    select document.title, coalesce(string_agg(piece.part, '' order by piece.number) filter (where ${isWanted}), '') as text,
      coalesce(min(piece.start) filter (where ${isWanted}), 0)::int as start,
      coalesce(sum(piece.units), 0)::int as length
    from document left join piece on true group by document.title`)
  return (
    row && {
      title: row.title,
      length: row.length,
      text: row.text.slice(Math.max(0, start - row.start), Math.max(0, end - row.start)),
    }
  )
}
