import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DocumentSummary, NewChunk, Store } from '@repo/db'
import { type Embedder, LlmError } from '@repo/llm'
import { type Chunk, splitText } from './split.ts'

export type IngestOptions = { store: Store; embedder: Embedder }

/** Texts a call of the embedder: vendors take hundreds, but a call that fails is repeated whole. */
const batchSize = 64

/**
 * Stores a document and makes it searchable: split, embed, store the chunks at once. The same content twice is one
 * document. When the embedder fails, the document is kept as `failed` with the reason; posting it again tries again.
 */
export async function ingestDocument(
  { store, embedder }: IngestOptions,
  owner: string,
  { title, text }: { title: string; text: string },
): Promise<DocumentSummary> {
  const contentHash = createHash('sha256').update(`${title}\0${text}`).digest('hex')
  const document = await store.documents.add(owner, { title, text, contentHash })
  if (document.status === 'ready') return document
  try {
    const chunks = await embedChunks(embedder, title, splitText(text))
    await store.documents.addChunks(owner, document.id, embedder.name, chunks)
    return { ...document, status: 'ready', error: null }
  } catch (error) {
    if (!(error instanceof LlmError)) throw error
    await store.documents.fail(owner, document.id, error.message)
    return { ...document, status: 'failed', error: error.message }
  }
}

async function embedChunks(embedder: Embedder, title: string, chunks: Chunk[]): Promise<NewChunk[]> {
  const embedded: NewChunk[] = []
  for (let first = 0; first < chunks.length; first += batchSize) {
    const batch = chunks.slice(first, first + batchSize).map(({ headings, ...chunk }) => ({
      ...chunk,
      heading: [title, ...headings.filter(Boolean)].join(' > '),
    }))
    const vectors = await embedder.embed(batch.map((chunk) => `${chunk.heading}\n${chunk.content}`))
    for (const [index, chunk] of batch.entries()) {
      const embedding = vectors[index]
      if (embedding) embedded.push({ ...chunk, embedding })
    }
    await nextTurn() // a long document must not keep the event loop from other requests
  }
  return embedded
}
