import { createEmbedders, type Db } from '@repo/db'
import type { Embedder } from '@repo/llm'
import { follow } from './follow.ts'

export type ReindexOptions = { db: Db; embedder: Pick<Embedder, 'name' | 'embed'>; report: (line: string) => void }

const batchSize = 500 // documents a transaction: milliseconds, and requests do not notice

/**
 * Queues every document of another embedder for the worker, follows it until all are done, and gives how many failed. Each
 * is replaced at once or not at all, so that searches go on meanwhile; the queue goes on when this does not.
 * Throws when the embedder does not answer at the start, or when the database is gone.
 */
export async function reindexDocuments({ db, embedder, report }: ReindexOptions): Promise<number> {
  await embedder.embed(['Does it answer?']) // else every document would be tried in vain
  const embedders = createEmbedders(db)
  while ((await embedders.requeue(embedder.name, batchSize)) > 0);
  const total = await embedders.countWaiting(embedder.name)
  report(`${total} queued for ${embedder.name}`)
  await follow(() => embedders.countWaiting(embedder.name), total, report)
  const others = (await embedders.countDocuments()).filter(({ model }) => model !== embedder.name)
  const failed = others.reduce((sum, { documents }) => sum + documents, 0)
  report(`${total - failed} embedded anew by ${embedder.name}, ${failed} failed`)
  return failed
}
