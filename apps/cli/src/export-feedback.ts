import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createFeedbackExport, type Db } from '@repo/db'

type ExportOptions = {
  db: Db
  /** Name of an owner. Unset: all owners. */
  owner?: string | undefined
  /** A date, or a time in ISO 8601. Unset: all ratings. */
  since?: string | undefined
  output: Writable
}

/**
 * Writes one line of JSON per rated answer, oldest answer first. Waits for a slow reader, and ends quietly if the reader
 * leaves, as `head` does. Throws if the owner is unknown or the date is invalid.
 */
export async function exportFeedback({ db, owner, since, output }: ExportOptions): Promise<void> {
  const feedback = createFeedbackExport(db)
  const from = since === undefined ? undefined : parseDate(since)
  if (owner !== undefined && !(await feedback.hasOwner(owner)))
    throw new Error(`No owner has the name ${owner}. \`npm run manage -- list-keys\` lists owners with keys.`)
  async function* toLines() {
    for await (const answer of feedback.list({ owner, since: from })) yield `${JSON.stringify(answer)}\n`
  }
  await pipeline(Readable.from(toLines()), output, { end: false }).catch((error) => {
    if (error.code !== 'EPIPE') throw error
  })
}

/** Parses a date, which begins at midnight UTC, or a time in ISO 8601. */
function parseDate(text: string): Date {
  const time = new Date(text)
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(time.getTime())) return time
  throw new Error(`Invalid date ${text}. Use a date like 2026-11-30, or a time like 2026-11-30T09:00:00Z.`)
}
