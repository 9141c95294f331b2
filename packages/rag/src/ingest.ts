import { createHash, type Hash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import {
  type DocumentContent,
  type DocumentSummary,
  type DocumentVersion,
  type NewChunk,
  type Store,
  type Upload,
  UploadGoneError,
} from '@repo/db'
import { type Embedder, LlmError, mayBeTooLong, surelyAccepted } from '@repo/llm'
import { DocumentError, type Extracted, type PostedFile } from './posted-file.ts'
import { type Chunk, cutChunk, splitText } from './split.ts'

export type IngestOptions = {
  store: Store
  embedder: Pick<Embedder, 'name' | 'embed' | 'loadTokenCounter'>
  /** Extracts the posted content. Throws a `DocumentError` if it cannot be read. Unset: the content is text. */
  extract?: (file: PostedFile, signal?: AbortSignal) => Promise<Extracted>
}

/** Texts per embedder call. Vendors accept hundreds, but a failed call is repeated in full. */
const batchSize = 64
/** Two million characters of prose have at most 3,400 chunks. All vectors are held in memory and stored in one statement. */
const maxChunks = 4000

/** The delays double, half a minute in total. After that the queue retries, with delays of up to ten minutes. */
const maxRetries = 5
const longestDelaySeconds = 60 // vendors count tokens per minute

/**
 * Returns the SHA-256 that identifies a document: posting the same content again refers to the same document. A file
 * that arrives in parts is passed as a SHA-256 `Hash` of its bytes, because its title may be known only after its last
 * part.
 */
export function hashContent(title: string, content: string | Buffer | Hash, externalId = ''): string {
  const isInMemory = typeof content === 'string' || Buffer.isBuffer(content)
  const digest = (isInMemory ? createHash('sha256').update(content) : content).digest('hex')
  return createHash('sha256').update(`${externalId}\0${title}\0${digest}`).digest('hex')
}

/**
 * Makes a stored document searchable: reads, splits and embeds it, and stores its chunks in one step. Does nothing if
 * the document is ready, gone or has newer content, so several workers may run it repeatedly. An unreadable document is
 * marked as failed. Any other error is thrown, and the document returns to the queue.
 */
export async function processDocument(
  options: IngestOptions,
  owner: string,
  document: DocumentVersion,
  signal?: AbortSignal,
): Promise<void> {
  const { documents } = options.store
  const begun = await documents.begin(owner, document)
  if (!begun) return
  try {
    const content = begun.upload ? await readUpload(options, begun.upload, signal) : begun.content
    const recordProgress = async (progress: number) => void (await documents.recordProgress(owner, document, progress))
    const chunks = await embedChunks(options.embedder, content, recordProgress, signal)
    if (chunks.length === 0) throw new DocumentError('This file contains no text.')
    const { version } = document
    await documents.addChunks(owner, document.id, options.embedder.name, chunks, { ...content, version })
  } catch (error) {
    if (error instanceof UploadGoneError) return // another worker was faster, or the document has changed
    if (error instanceof DocumentError) return void (await documents.fail(owner, document, error.message))
    await documents.postpone(owner, document, explainFailure(error))
    throw error
  }
}

/**
 * Embeds a document again and keeps the vectors of the other embedder. Returns false and stores nothing if the document
 * is gone, has no content yet or changes in the meantime. Throws the embedder's errors.
 */
export async function embedForAnotherModel(
  { store: { documents }, embedder }: Pick<IngestOptions, 'store' | 'embedder'>,
  owner: string,
  id: string,
): Promise<boolean> {
  const content = await documents.readContent(owner, id)
  if (!content) return false
  const chunks = await embedChunks(embedder, content, async () => {})
  return documents.addChunksForModel(owner, id, embedder.name, chunks, content)
}

/**
 * Stores a text and makes it searchable immediately, without a worker. For commands and tests. If the embedder fails,
 * the document is stored as `failed` with the reason, and adding it again retries.
 */
export async function ingestDocument(
  options: IngestOptions,
  owner: string,
  { title, text, externalId }: { title: string; text: string; externalId?: string },
): Promise<DocumentSummary> {
  const { documents } = options.store
  const contentHash = hashContent(title, text, externalId)
  const embeddingModel = options.embedder.name
  const added = await documents.add(owner, { title, text, contentHash, externalId, embeddingModel })
  try {
    await processDocument(options, owner, added)
  } catch (error) {
    await documents.fail(owner, added, 'The document could not be processed. Post it again.')
    if (!(error instanceof LlmError)) throw error
  }
  const document = await documents.find(owner, added.id)
  if (!document) throw new DocumentError('The document was deleted.')
  return document
}

/** An `LlmError` says what to do. Other errors may contain SQL or document text. */
function explainFailure(error: unknown): string | null {
  return error instanceof LlmError ? error.message : null
}

async function readUpload(
  { store, extract }: IngestOptions,
  { title, uploadedBy, ...upload }: Upload & { uploadedBy: string },
  signal?: AbortSignal,
): Promise<DocumentContent> {
  const file = { ...upload, parts: store.uploads.read(uploadedBy, upload) }
  const { text, pages, warnings }: Extracted = extract
    ? await extract(file, signal)
    : { text: `${await buffer(file.parts)}` }
  return { title, text, pages: pages ?? null, warnings: warnings ?? [] }
}

type DescribedChunk = Omit<NewChunk, 'embedding'>

async function embedChunks(
  embedder: IngestOptions['embedder'],
  { title, text, pages }: DocumentContent,
  recordProgress: (progress: number) => Promise<void>,
  signal?: AbortSignal,
): Promise<NewChunk[]> {
  const embedded: NewChunk[] = []
  const count = await embedder.loadTokenCounter?.()
  for (const batch of groupChunks(splitText(text, pages ?? [], count))) {
    if (embedded.length + batch.length > maxChunks)
      throw new DocumentError(`This document has more than ${maxChunks} sections. Split it into several documents.`)
    const described = batch.map(({ headings, ...chunk }) => ({ ...chunk, heading: [title, ...headings].join(' > ') }))
    embedded.push(...(await embedOrCut(embedder, described, signal)))
    if (batch.length === batchSize) await recordProgress((batch.at(-1)?.end ?? 0) / text.length)
    await nextTurn() // a long document must not delay heartbeats
  }
  return embedded
}

/**
 * Embeds chunks. A chunk that the server rejects as too long is cut in two, because its tokens may be shorter than ours.
 * Throws if it rejects a chunk that every model accepts.
 */
async function embedOrCut(
  embedder: IngestOptions['embedder'],
  chunks: DescribedChunk[],
  signal?: AbortSignal,
): Promise<NewChunk[]> {
  try {
    const texts = chunks.map(({ heading, content }) => `${heading}\n${content}`)
    const vectors = await embedWithRetries(embedder, texts, signal)
    return chunks.flatMap((chunk, index) => {
      const embedding = vectors[index]
      return embedding ? [{ ...chunk, embedding }] : []
    })
  } catch (error) {
    const [first] = chunks
    const isShort = chunks.length === 1 && first && first.content.length <= surelyAccepted
    if (!first || isShort || !mayBeTooLong(error)) throw error
    const middle = Math.floor(chunks.length / 2)
    const halves =
      chunks.length === 1 ? cutChunk(first).map((half) => [half]) : [chunks.slice(0, middle), chunks.slice(middle)]
    const embedded: NewChunk[] = []
    for (const half of halves) embedded.push(...(await embedOrCut(embedder, half, signal)))
    return embedded
  }
}

/**
 * Retries a call of an overloaded server (429, 503) after the delay that it requests, or after 1, 2, 4 … s, so that a
 * long document does not start over after each rejection. Longer delays are thrown, because the queue can wait longer.
 */
async function embedWithRetries(
  embedder: IngestOptions['embedder'],
  texts: string[],
  signal?: AbortSignal,
): Promise<number[][]> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await embedder.embed(texts, signal)
    } catch (error) {
      if (!(error instanceof LlmError) || ![429, 503].includes(error.status ?? 0) || tries === maxRetries) throw error
      const seconds = error.retryAfterSeconds ?? 2 ** tries * (0.5 + Math.random()) // jitter
      if (seconds > longestDelaySeconds) throw error
      await sleep(1000 * seconds, undefined, { signal })
    }
  }
}

/** Reads only as far as requested, so that splitting also runs one batch at a time. */
function* groupChunks(chunks: Iterable<Chunk>): Generator<Chunk[]> {
  let batch: Chunk[] = []
  for (const chunk of chunks) {
    if (batch.push(chunk) < batchSize) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
