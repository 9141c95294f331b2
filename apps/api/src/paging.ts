import type { Cursor } from '@repo/db'
import { z } from 'zod'
import { ProblemError } from './plugins/errors.ts'

/** The query of every list: `limit` items, those after the cursor of the page before. */
export const PageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z.string().max(200).optional().meta({ description: 'The `next` of the page before' }),
})

/** What Postgres can compare with a row's: it knows no year 0 and no U+0000. */
const CursorShape = z.tuple([
  z.iso.datetime().refine((time) => Date.parse(time) > 0),
  z.string().regex(/^[\w-]{1,64}$/),
])

/** Throws a 400 for a cursor that no list gave. */
export function decodeCursor(after: string | undefined): Cursor | undefined {
  if (after === undefined) return undefined
  const cursor = CursorShape.safeParse(parseJson(Buffer.from(after, 'base64url').toString()))
  if (!cursor.success) throw new ProblemError(400, 'invalid_cursor', '`after` should be the `next` of the page before.')
  const [time, id] = cursor.data
  return { time, id }
}

/** Takes rows of a query for `limit + 1`: one more than fits says that there is a next page. */
export function toPage<Row extends { id: string }, Item>(
  rows: Row[],
  limit: number,
  timeOf: (row: Row) => Date,
  toItem: (row: Row) => Item,
) {
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  const hasMore = rows.length > limit
  const next = hasMore && last ? encodeCursor(timeOf(last), last.id) : null
  return { items: page.map(toItem), next }
}

function encodeCursor(time: Date, id: string): string {
  return Buffer.from(JSON.stringify([time.toISOString(), id])).toString('base64url')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
