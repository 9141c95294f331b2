import type { Cursor, DocumentSummary, Store } from '@repo/db'
import { z } from 'zod'
import { decodeCursor, toPage } from '../paging.ts'
import { ProblemError } from '../plugins/errors.ts'

/** Somebody who may read the documents of an owner, and those that are shared with an organization. */
export type Reader = { owner: string; organization: string | undefined }

/** Returns a page of the documents that a reader may see, newest first. Throws `ProblemError` 400 for an invalid cursor. */
export async function listDocuments(
  store: Store,
  { owner, organization }: Reader,
  { limit, after }: { limit: number; after?: string | undefined },
) {
  const rows = await store.documents.list(owner, limit + 1, readCursor(after), organization)
  return toPage<DocumentSummary, DocumentSummary>(
    rows,
    limit,
    (row) => row.createdAt,
    (row) => row,
  )
}

function readCursor(after: string | undefined): Cursor | undefined {
  const cursor = decodeCursor(after)
  if (cursor && !z.uuid().safeParse(cursor.id).success)
    throw new ProblemError(400, 'invalid_cursor', 'Invalid cursor. Use the `next` value of the previous page.')
  return cursor
}
