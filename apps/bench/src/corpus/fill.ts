import { connect, createStore, type Store } from '@repo/db'
import { migrate } from '@repo/db/migrate'
import { mockEmbedding } from '@repo/testing/mock-model/embedding'
import { createTexts } from './texts.ts'

/** The mock model returns vectors of this width for this name. */
export const embedder = { model: 'mock-embed-384', dimensions: 384 } // a common width of small trained models
const chunksPerDocument = 50 // about 20 pages
const connections = 2 // one inserts while this process prepares the next document

/**
 * Creates tables, a corpus of `chunks` chunks of the owner `local`, and the index, which is built last because that is
 * faster. Rejects when `signal` aborts.
 */
export async function fillDatabase(
  { databaseUrl, directDatabaseUrl: directUrl }: { databaseUrl: string; directDatabaseUrl: string },
  chunks: number,
  signal: AbortSignal,
): Promise<void> {
  await migrate({ directUrl })
  const { db, close } = connect({ url: databaseUrl, poolSize: connections })
  try {
    const store = createStore(db)
    const owner = await store.owners.ensure('local')
    const documents = listDocuments(chunks)
    const work = async () => {
      for (const { number, texts } of documents) {
        signal.throwIfAborted()
        await addDocument(store, owner, number, texts)
      }
    }
    await Promise.all(Array.from({ length: connections }, work))
  } finally {
    await close()
  }
  await migrate({ directUrl, embedder })
}

/** Returns documents with `chunks` chunks in total. */
function* listDocuments(chunks: number) {
  const { writeDocument } = createTexts(0)
  for (let [number, left] = [1, chunks]; left > 0; number += 1, left -= chunksPerDocument)
    yield { number, texts: writeDocument(number, Math.min(left, chunksPerDocument)) }
}

async function addDocument(store: Store, owner: string, number: number, texts: string[]): Promise<void> {
  const title = `Document ${number}`
  const { id } = await store.documents.add(owner, { title, text: '', contentHash: title })
  let start = 0
  const newChunks = texts.map((content) => {
    const end = start + content.length
    const embedding = mockEmbedding(`${title}\n${content}`, embedder.dimensions)
    const chunk = { heading: title, content, start, end, embedding }
    start = end
    return chunk
  })
  await store.documents.addChunks(owner, id, embedder.model, newChunks)
}
