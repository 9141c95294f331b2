import { z } from 'zod'
import type { JobContext } from '../job.ts'

export const DocumentJob = z.object({ owner: z.string(), documentId: z.string(), version: z.string() })

/** The queue gives up on a document: its last try failed, or ended its worker. */
export default async ({ store }: JobContext, data: unknown) => {
  const { owner, documentId, version } = DocumentJob.parse(data)
  const reason =
    'It could not be processed, though it was tried again and again: post it again, or another version of it.'
  await store.documents.fail(owner, { id: documentId, version }, reason)
}
