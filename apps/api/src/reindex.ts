import { setTimeout as sleep } from 'node:timers/promises'
import { createEmbedders, createStore, type Db } from '@repo/db'
import { type Embedder, LlmError } from '@repo/llm'
import { reindexDocument } from '@repo/rag'
import { explain } from './command.ts'

export type ReindexOptions = { db: Db; embedder: Embedder; report: (line: string) => void }

const maxTries = 5
const waitSeconds = 15 // where a vendor does not say how long; most count calls by the minute

/**
 * Embeds every document of another embedder anew, one after the other, and gives how many failed. Each is replaced at
 * once or not at all, so that searches go on meanwhile, and the next run goes on where this one ended.
 * Throws when the embedder does not answer at the start, or when the database is gone.
 */
export async function reindexDocuments({ db, embedder, report }: ReindexOptions): Promise<number> {
  const [store, embedders] = [createStore(db), createEmbedders(db)]
  await embedder.embed(['Does it answer?']) // else the same complaint would come for each document
  const others = (await embedders.countDocuments()).filter(({ model }) => model !== embedder.name)
  const total = others.reduce((sum, { documents }) => sum + documents, 0)
  let [seen, failed] = [0, 0]
  let next = await embedders.findOther(embedder.name)
  while (next) {
    const { owner, ...document } = next
    const outcome = await withPatience(() => reindexDocument({ store, embedder }, owner, document)).then(
      () => 'done',
      (error) => {
        failed += 1
        return `failed: ${explain(error)}`
      },
    )
    seen += 1
    report(`${seen} of ${total}: document ${document.id} ${outcome}`)
    next = await embedders.findOther(embedder.name, document.id)
  }
  report(`${seen - failed} embedded anew by ${embedder.name}, ${failed} failed`)
  return failed
}

/** A whole collection meets its vendor's limit sooner or later: then it waits as long as the vendor says. */
async function withPatience(work: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work()
    } catch (error) {
      const isLimit = error instanceof LlmError && error.code === 'model_rate_limited'
      if (!isLimit || tries === maxTries) throw error
      await sleep((error.retryAfterSeconds ?? waitSeconds) * 1000)
    }
  }
}
