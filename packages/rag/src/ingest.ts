import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DocumentSummary, NewChunk, Store } from '@repo/db'
import { type Embedder, LlmError } from '@repo/llm'
import { type Chunk, splitText } from './split.ts'

export type IngestOptions = { store: Store; embedder: Embedder }

/** Texts a call of the embedder: vendors take hundreds, but a call that fails is repeated whole. */
const batchSize = 64
/** Two million characters of prose are at most 3,400. The vectors of all are held at once and stored in one statement. */
const maxChunks = 4000

class DocumentError extends Error {}

/**
 * Stores a document and makes it searchable: split, embed, store the chunks at once. The same content twice is one
 * document, embedded anew when the embedder is another one by now. When that fails, or the document has more than 4,000
 * chunks, it is kept as `failed` with the reason, unless it was ready; posting it again tries again.
 */
export async function ingestDocument(
  { store, embedder }: IngestOptions,
  owner: string,
  { title, text }: { title: string; text: string },
): Promise<DocumentSummary> {
  const contentHash = createHash('sha256').update(`${title}\0${text}`).digest('hex')
  const { embeddingModel, ...document } = await store.documents.add(owner, { title, text, contentHash })
  if (document.status === 'ready' && embeddingModel === embedder.name) return document
  try {
    const chunks = await embedChunks(embedder, title, text)
    await store.documents.addChunks(owner, document.id, embedder.name, chunks)
    return { ...document, status: 'ready', error: null }
  } catch (error) {
    const isExplained = error instanceof LlmError || error instanceof DocumentError
    const reason = isExplained ? error.message : 'It could not be stored: post it again.'
    const failed = await store.documents.fail(owner, document.id, reason)
    if (isExplained) return failed ?? document
    throw error
  }
}

/**
 * Embeds a stored document by this embedder, in the place of its chunks of another one. Does nothing when the document is
 * gone by then. Throws an `LlmError`, or what the database says; the old chunks stay.
 */
export async function reindexDocument(
  { store, embedder }: IngestOptions,
  owner: string,
  { id, title, text }: { id: string; title: string; text: string },
): Promise<void> {
  await store.documents.addChunks(owner, id, embedder.name, await embedChunks(embedder, title, text))
}

async function embedChunks(embedder: Embedder, title: string, text: string): Promise<NewChunk[]> {
  const embedded: NewChunk[] = []
  for (const batch of groupChunks(splitText(text))) {
    if (embedded.length + batch.length > maxChunks)
      throw new DocumentError(`It has more than ${maxChunks} sections: divide it into several documents.`)
    const described = batch.map(({ headings, ...chunk }) => ({ ...chunk, heading: [title, ...headings].join(' > ') }))
    const vectors = await embedder.embed(described.map(({ heading, content }) => `${heading}\n${content}`))
    for (const [index, chunk] of described.entries()) {
      const embedding = vectors[index]
      if (embedding) embedded.push({ ...chunk, embedding })
    }
    await nextTurn() // a long document must not keep the event loop from other requests
  }
  return embedded
}

/** Reads no further than it is asked to, so that splitting, too, is done a batch at a time. */
function* groupChunks(chunks: Iterable<Chunk>): Generator<Chunk[]> {
  let batch: Chunk[] = []
  for (const chunk of chunks) {
    if (batch.push(chunk) < batchSize) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
