import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join, normalize } from 'node:path'
import { getSystemErrorMessage } from 'node:util'
import { createStore, type Db, documents, sql, toStorableText } from '@repo/db'
import type { Embedder } from '@repo/llm'
import { hashContent, MediaTypeError, sniffMediaType } from '@repo/rag'
import { loadWithoutIndex, untilStopped } from './bulk-load.ts'
import { waitForWorker } from './wait-for-worker.ts'

export type IngestFilesOptions = {
  db: Db
  embedder: Embedder
  /** The name of the owner that will own the documents. */
  owner: string
  paths: string[]
  /** Connects directly to Postgres. Without it, a large load takes a third longer because the vector index is kept. */
  directUrl?: string | undefined
  /** Larger files are skipped. */
  maxBytes: number
  /** Whether the worker has an external extractor. */
  hasExtractor: boolean
  report: (line: string) => void
}

export const ingestPoolSize = 4 // one transaction per file, most of it waiting; four keep the database busy

/** A file to add, or the reason why it is left out. */
type Entry = { path: string; reason?: string }

const bulk = 1000 // files; for fewer, the index costs a few seconds at most

/**
 * Queues files, and all non-hidden files of folders, for the worker. Waits until all are ingested, and returns how many
 * failed or were skipped, each reported in a line. A file's path is its document's `externalId`, so a changed file
 * replaces its older version and an unchanged file costs nothing. Throws if a path does not exist, or at Ctrl-C.
 */
export async function ingestFiles(options: IngestFilesOptions): Promise<number> {
  const { directUrl, embedder, report } = options
  const entries = new Map(options.paths.flatMap(listEntries).map((entry) => [entry.path, entry]))
  const files = [...entries.values()]
  const load = (signal: AbortSignal) => takeIn(files, options, signal)
  const { ready, failed, skipped } =
    directUrl && files.length >= bulk
      ? await loadWithoutIndex({ directUrl, embedder, report }, load)
      : await untilStopped(load)
  report(`${ready} ready, ${failed} failed, ${skipped} left out`)
  return failed + skipped
}

async function takeIn(
  files: Entry[],
  { db, embedder, owner: name, report, ...limits }: IngestFilesOptions,
  signal: AbortSignal,
) {
  const store = createStore(db)
  const owner = await store.owners.ensure(name)
  const added = new Map<string, string>() // paths by document
  let [next, skipped] = [0, 0]
  const queueFiles = async () => {
    for (let file = files[next++]; file !== undefined; file = files[next++]) {
      signal.throwIfAborted()
      const { path, reason } = file
      const document = reason ?? (await readDocument(path, limits).catch(toReason))
      if (typeof document === 'string') {
        report(`${path} is left out: ${document}`)
        skipped += 1
      } else {
        added.set((await store.documents.add(owner, { ...document, embeddingModel: embedder.name })).id, path)
        if (added.size % 500 === 0) report(`${added.size} of ${files.length} queued`)
      }
    }
  }
  await Promise.all(Array.from({ length: ingestPoolSize }, queueFiles))
  const ids = [...added.keys()]
  const left = await countUnfinished(db, ids)
  report(`${ids.length} files, ${left} of them new or changed`)
  await waitForWorker(() => countUnfinished(db, ids), left, report, signal)
  const failures = await listFailures(db, ids)
  for (const { id, error } of failures) report(`${added.get(id)} failed: ${error}`)
  for (const { id, warnings } of await listWarnings(db, ids)) report(`${added.get(id)}: ${warnings.join(' ')}`)
  return { ready: ids.length - failures.length, failed: failures.length, skipped }
}

function listEntries(path: string): Entry[] {
  return statSync(path).isDirectory() ? listFolder(path) : [{ path: normalize(path) }]
}

/** Lists all entries that are not hidden. Links are not followed: their targets could be added twice, or contain them. */
function listFolder(folder: string): Entry[] {
  const entries = readFolder(folder)
  if (typeof entries === 'string') return [{ path: folder, reason: entries }]
  return entries
    .filter(({ name }) => !name.startsWith('.'))
    .toSorted((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return listFolder(path)
      return entry.isSymbolicLink() ? { path, reason: 'it is a symbolic link. Name its target instead' } : { path }
    })
}

function readFolder(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    return toReason(error)
  }
}

/** Returns the reason why a file or folder is left out. Throws other errors. */
function toReason(error: unknown): string {
  if (error instanceof MediaTypeError) return error.message
  if (error instanceof Error && 'errno' in error)
    return `it cannot be read: ${getSystemErrorMessage(Number(error.errno))}`
  throw error
}

/** Returns the document to add, or a string with the reason why the file is skipped. Throws if it cannot be read. */
async function readDocument(
  path: string,
  { maxBytes, hasExtractor }: Pick<IngestFilesOptions, 'maxBytes' | 'hasExtractor'>,
) {
  const stats = statSync(path)
  if (!stats.isFile()) return 'it is not a regular file'
  if (stats.size > maxBytes) return `it has more than ${maxBytes / 1024 / 1024} MB`
  const bytes = readFileSync(path)
  if (bytes.length === 0) return 'it is empty'
  const [title, externalId] = [toStorableText(basename(path)), toStorableText(path)]
  const mediaType = await sniffMediaType(bytes, { filename: path, hasExtractor })
  return { title, externalId, bytes, mediaType, contentHash: hashContent(title, bytes, externalId) }
}

async function countUnfinished(db: Db, ids: string[]): Promise<number> {
  const [row] = await db.execute<{ left: number }>(sql`
    select count(*)::int as left from ${documents}
    where status in ('queued', 'processing') and id in (${toList(ids)})`)
  return row?.left ?? 0
}

async function listFailures(db: Db, ids: string[]) {
  return db.execute<{ id: string; error: string }>(sql`
    select id, error from ${documents} where status = 'failed' and id in (${toList(ids)})`)
}

/** Returns what could not be read of documents that are ready. */
async function listWarnings(db: Db, ids: string[]) {
  return db.execute<{ id: string; warnings: string[] }>(sql`
    select id, warnings from ${documents}
    where status = 'ready' and warnings <> '[]' and id in (${toList(ids)})`)
}

const toList = (ids: string[]) => sql`select jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb)::uuid`
