import type { Cursor } from '@repo/db'
import { z } from 'zod'
import { ProblemError } from './plugins/errors.ts'

/** The query of every list: `limit` items after the cursor of the previous page. */
export const PageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z.string().max(200).optional().meta({ description: 'The `next` value of the previous page' }),
})

/** Accepts only values that Postgres can compare: it supports neither year 0 nor U+0000. */
const CursorSchema = z.tuple([
  z.iso.datetime().refine((time) => Date.parse(time) > 0),
  z.string().regex(/^[\w-]{1,64}$/),
])

/** Decodes a cursor. Throws `ProblemError` 400 if it is invalid. */
export function decodeCursor(after: string | undefined): Cursor | undefined {
  if (after === undefined) return undefined
  const cursor = CursorSchema.safeParse(parseJson(Buffer.from(after, 'base64url').toString()))
  if (!cursor.success)
    throw new ProblemError(400, 'invalid_cursor', 'Invalid cursor. Use the `next` value of the previous page.')
  const [time, id] = cursor.data
  return { time, id }
}

/** Returns a page and its cursor. The query must fetch `limit + 1` rows, because the extra row reveals a next page. */
export function toPage<Row extends { id: string }, Item>(
  rows: Row[],
  limit: number,
  timeOf: (row: Row) => Date,
  toItem: (row: Row) => Item,
) {
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  const hasMore = rows.length > limit
  const next = hasMore && last ? encodeCursor({ time: timeOf(last).toISOString(), id: last.id }) : null
  return { items: page.map(toItem), next }
}

export function encodeCursor({ time, id }: Cursor): string {
  return Buffer.from(JSON.stringify([time, id])).toString('base64url')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
