import { createEmbedders, createStore, type Db } from '@repo/db'
import { type Embedder, LlmError } from '@repo/llm'
import { DocumentError, embedBeside } from '@repo/rag'

export type ReindexOptions = {
  db: Db
  embedder: Pick<Embedder, 'name' | 'embed' | 'loadTokenCounter'>
  /** Processes of the older embedder go on searching: its vectors stay, and go with the next run. */
  keepOthers?: boolean
  report: (line: string) => void
}

type Found = { owner: string; id: string }

const atOnce = 4 // documents: a vendor's server takes several calls in the time of one
const pageSize = 100 // ids that are read at once
const removedAtOnce = 1000 // chunks a transaction: milliseconds, and requests do not notice

/**
 * Embeds every document of other embedders anew, beside what it has, until none is left, and gives how many failed. Only
 * when none did, the others' vectors go: until then a process that asks by an older embedder finds all by its vectors.
 * Each document is stored whole or not at all, and those that are done stay so: the next run goes on where this one ended.
 * Throws when the embedder does not answer at the start, or when the database is gone.
 */
export async function reindexDocuments({ db, embedder, keepOthers, report }: ReindexOptions): Promise<number> {
  await embedder.embed(['Does it answer?']) // else every document would be tried in vain
  const [store, embedders] = [createStore(db), createEmbedders(db)]
  const failed = new Set<string>()
  let stored = 0
  const embed = async ({ owner, id }: Found) => {
    try {
      if (await embedBeside({ store, embedder }, owner, id)) stored += 1
    } catch (error) {
      if (!(error instanceof LlmError || error instanceof DocumentError)) throw error
      failed.add(id)
      report(`document ${id} fails: ${error.message}`)
    }
  }
  async function* listDocuments(): AsyncGenerator<Found> {
    for (let after: string | undefined; ; ) {
      const page = await embedders.listWithout(embedder.name, pageSize, after)
      yield* page.filter(({ id }) => !failed.has(id))
      after = page.at(-1)?.id
      if (!after) return
    }
  }
  for (let before = -1; stored > before; ) {
    before = stored // and once more while any was left: documents come meanwhile, or change
    const total = (await embedders.countWithout(embedder.name)) - failed.size
    await embedAll(listDocuments(), embed, total, report)
  }
  report(`${stored} embedded anew by ${embedder.name}, ${failed.size} failed`)
  if (failed.size === 0 && !keepOthers) while ((await embedders.removeOthers(embedder.name, removedAtOnce)) > 0);
  return failed.size
}

/** Several at once. Says how many are done, once for each per cent. */
async function embedAll(
  documents: AsyncGenerator<Found>,
  embed: (document: Found) => Promise<void>,
  total: number,
  report: ReindexOptions['report'],
) {
  let done = 0
  const work = async () => {
    for await (const document of documents) {
      await embed(document)
      done += 1
      const [percent, before] = [done, done - 1].map((count) => Math.floor((100 * count) / Math.max(total, done)))
      if (percent !== before) report(`${done} of ${Math.max(total, done)} done`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}
