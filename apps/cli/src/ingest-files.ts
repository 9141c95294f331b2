import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { createStore, type Db, documents, sql, toStorableText } from '@repo/db'
import type { Embedder } from '@repo/llm'
import { hashContent, MediaTypeError, sniffMediaType } from '@repo/rag'
import { loadWithoutIndex } from './bulk-load.ts'
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
  report: (line: string) => void
}

export const ingestPoolSize = 4 // one transaction per file, most of it waiting; four keep the database busy

const bulk = 1000 // files; for fewer, the index costs a few seconds at most

/**
 * Queues files, and all non-hidden files of folders, for the worker. Waits until all are ingested, and returns how many
 * failed or were skipped. A file's path is its document's `externalId`, so a changed file replaces its older version
 * and an unchanged file costs nothing. Throws if a path does not exist.
 */
export async function ingestFiles(options: IngestFilesOptions): Promise<number> {
  const { directUrl, embedder, report } = options
  const files = options.paths.flatMap(listFiles)
  const load = (signal?: AbortSignal) => takeIn(files, options, signal)
  const { ready, failed, skipped } =
    directUrl && files.length >= bulk ? await loadWithoutIndex({ directUrl, embedder, report }, load) : await load()
  report(`${ready} ready, ${failed} failed, ${skipped} left out`)
  return failed + skipped
}

async function takeIn(
  files: string[],
  { db, embedder, owner: name, maxBytes, report }: IngestFilesOptions,
  signal?: AbortSignal,
) {
  const store = createStore(db)
  const owner = await store.owners.ensure(name)
  const ids: string[] = []
  let [next, skipped] = [0, 0]
  const queueFiles = async () => {
    for (let path = files[next++]; path !== undefined; path = files[next++]) {
      signal?.throwIfAborted()
      const document = readDocument(path, maxBytes)
      if (typeof document === 'string') {
        report(`${path} is left out: ${document}`)
        skipped += 1
      } else {
        ids.push((await store.documents.add(owner, { ...document, embeddingModel: embedder.name })).id)
        if (ids.length % 500 === 0) report(`${ids.length} of ${files.length} queued`)
      }
    }
  }
  await Promise.all(Array.from({ length: ingestPoolSize }, queueFiles))
  const { left } = await countStates(db, ids)
  report(`${ids.length} files, ${left} of them new or changed`)
  await waitForWorker(async () => (await countStates(db, ids)).left, left, report, signal)
  const { failed } = await countStates(db, ids)
  for (const { title, warnings } of await listWarnings(db, ids)) report(`${title}: ${warnings.join(' ')}`)
  return { ready: ids.length - failed, failed, skipped }
}

function listFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('.'))
    .toSorted((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() || entry.isFile() ? listFiles(join(path, entry.name)) : []))
}

/** Returns the document to add, or a string with the reason why the file is skipped. */
function readDocument(path: string, maxBytes: number) {
  if (statSync(path).size > maxBytes) return `it has more than ${maxBytes / 1024 / 1024} MB`
  const bytes = readFileSync(path)
  const [title, externalId] = [toStorableText(basename(path)), toStorableText(path)]
  try {
    const mediaType = sniffMediaType(bytes, path)
    return { title, externalId, bytes, mediaType, contentHash: hashContent(title, bytes, externalId) }
  } catch (error) {
    if (error instanceof MediaTypeError) return error.message
    throw error
  }
}

/** Returns what could not be read of files that are ready. */
function listWarnings(db: Db, ids: string[]) {
  return db.execute<{ title: string; warnings: string[] }>(sql`
    select coalesce(external_id, title) as title, warnings from ${documents} where status = 'ready' and warnings <> '[]'
      and id in (select jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb)::uuid) order by 1`)
}

async function countStates(db: Db, ids: string[]) {
  const [row] = await db.execute<{ left: number; failed: number }>(sql`
    select count(*) filter (where status in ('queued', 'processing'))::int as left,
      count(*) filter (where status = 'failed')::int as failed
    from ${documents} where id in (select jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb)::uuid)`)
  return row ?? { left: 0, failed: 0 }
}
