import { z } from 'zod'
import type { JobContext } from '../job.ts'

export const DocumentJob = z.object({ owner: z.string(), documentId: z.string(), version: z.string() })

const reason = 'Processing failed after several attempts. Upload the document again.'

/** Marks a document as failed. Its last attempt threw an error or crashed the worker. */
export default async ({ store }: JobContext, data: unknown) => {
  const { owner, documentId, version } = DocumentJob.parse(data)
  await store.documents.fail(owner, { id: documentId, version }, reason)
}
