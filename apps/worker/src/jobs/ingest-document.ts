import { deadLetterQueue, type JobOptions } from '@repo/db'
import { processDocument } from '@repo/rag'
import { extract } from '../extract/extract.ts'
import type { JobContext } from '../job.ts'
import { DocumentJob } from './give-up-document.ts'

/** What waits in it is an answer that somebody cannot get yet. */
export const pollSeconds = 0.5
export const options: Partial<JobOptions> = { deadLetter: deadLetterQueue }

/** Makes a document searchable, whatever happened to it before: see `processDocument`. */
export default async ({ store, llm }: JobContext, data: unknown, signal: AbortSignal) => {
  const { owner, documentId, version } = DocumentJob.parse(data)
  await processDocument({ store, embedder: llm.embedder, extract }, owner, { id: documentId, version }, signal)
}
