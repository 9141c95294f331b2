import { deadLetterQueue, type JobOptions } from '@repo/db'
import { meterEmbedder } from '@repo/llm'
import { processDocument } from '@repo/rag'
import type { JobContext } from '../job.ts'
import { DocumentJob } from './dead-letter-document.ts'

/** Short, because users are waiting to ask about their document. */
export const pollSeconds = 0.5
export const options: Partial<JobOptions> = { deadLetter: deadLetterQueue }

/** Makes a document searchable. See `processDocument`. */
export default async ({ store, llm, usage, extract }: JobContext, data: unknown, signal: AbortSignal) => {
  const { owner, documentId, version } = DocumentJob.parse(data)
  const embedder = meterEmbedder(llm.embedder, (call) => usage.count(owner, undefined, { kind: 'embedding', ...call }))
  await processDocument({ store, embedder, extract }, owner, { id: documentId, version }, signal)
}
