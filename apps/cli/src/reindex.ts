import { createEmbedders, createStore, createTermIndex, type Db, type LanguageName } from '@repo/db'
import { type Embedder, LlmError } from '@repo/llm'
import { DocumentError, embedForAnotherModel } from '@repo/rag'

export type ReindexOptions = {
  db: Db
  embedder: Pick<Embedder, 'name' | 'embed' | 'loadTokenCounter'>
  /** Keeps the vectors of other models for processes that still search with them. The next run deletes them. */
  keepOthers?: boolean
  /** The language of all documents. Default: it is guessed for each text. */
  language?: LanguageName | undefined
  report: (line: string) => void
}

type DocumentRef = { owner: string; id: string }

const concurrency = 4 // documents: model servers handle several calls in parallel
const pageSize = 100 // document IDs per query
const removedAtOnce = 1000 // chunks per transaction: takes milliseconds, so requests are not delayed
const renewedAtOnce = 100 // chunks per statement: each takes 2 to 5 ms, because its vector is indexed again

/**
 * Embeds all documents that have no vectors from `embedder`. Returns the number of documents that failed. Before that, it
 * finds the terms of chunks again if the tokenizer has changed.
 *
 * The vectors of other models are deleted only if no document failed. Until then, processes that still use an older
 * model find every document by its vectors. Each document is stored completely or not at all, so a later run continues
 * where this one ended. Throws if the embedder does not respond at the start, or if the database is unavailable.
 */
export async function reindexDocuments({
  db,
  embedder,
  keepOthers,
  language,
  report,
}: ReindexOptions): Promise<number> {
  const renewed = await renewTerms(createTermIndex(db, language))
  if (renewed > 0) report(`${renewed} chunks can be found by their words again`)
  await embedder.embed(['Does it answer?']) // fail once instead of once per document
  const [store, embedders] = [createStore(db, language), createEmbedders(db)]
  const failed = new Set<string>()
  let stored = 0
  const embed = async ({ owner, id }: DocumentRef) => {
    try {
      if (await embedForAnotherModel({ store, embedder }, owner, id)) stored += 1
    } catch (error) {
      if (!(error instanceof LlmError || error instanceof DocumentError)) throw error
      failed.add(id)
      report(`document ${id} failed: ${error.message}`)
    }
  }
  async function* listDocuments(): AsyncGenerator<DocumentRef> {
    for (let after: string | undefined; ; ) {
      const page = await embedders.listWithout(embedder.name, pageSize, after)
      yield* page.filter(({ id }) => !failed.has(id))
      after = page.at(-1)?.id
      if (!after) return
    }
  }
  for (let before = -1; stored > before; ) {
    before = stored // repeat until a pass stores nothing: documents may arrive or change during a pass
    const total = (await embedders.countWithout(embedder.name)) - failed.size
    await embedAll(listDocuments(), embed, total, report)
  }
  report(`${stored} embedded with ${embedder.name}, ${failed.size} failed`)
  if (failed.size === 0 && !keepOthers) while ((await embedders.removeOthers(embedder.name, removedAtOnce)) > 0);
  return failed.size
}

/** Finds the terms of outdated chunks again, of no more than `atMost` + 100. Returns how many there were. */
export async function renewTerms(
  { renew }: ReturnType<typeof createTermIndex>,
  atMost = Number.POSITIVE_INFINITY,
): Promise<number> {
  let renewed = 0
  for (let after: string | undefined; renewed <= atMost; ) {
    const { last, count } = await renew(renewedAtOnce, after)
    if (!last) break
    renewed += count
    after = last
  }
  return renewed
}

/** Embeds several documents concurrently. Reports progress once per percent. */
async function embedAll(
  documents: AsyncGenerator<DocumentRef>,
  embed: (document: DocumentRef) => Promise<void>,
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
  await Promise.all(Array.from({ length: concurrency }, work))
}
