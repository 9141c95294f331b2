import { buildEmbeddingIndex, dropEmbeddingIndex } from '@repo/db/migrate'
import type { Embedder } from '@repo/llm'
import { getErrorMessage } from './command.ts'

export type BulkLoadOptions = {
  /** A direct connection to Postgres, as the role that owns the tables. */
  directUrl: string
  embedder: Pick<Embedder, 'name' | 'embed'>
  report: (line: string) => void
}

const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const repeatMs = 500 // npm repeats the terminal's Ctrl-C: signals within half a second count as one

/**
 * Runs `load` without the embedding model's vector index and rebuilds the index afterwards, even if the load fails. A
 * large collection keeps its index, because its searches would become slow. `signal` is aborted on the first Ctrl-C;
 * the second one ends the process.
 */
export async function loadWithoutIndex<T>(
  { directUrl, embedder, report }: BulkLoadOptions,
  load: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const dropIndex = async () => {
    const [vector = []] = await embedder.embed(['How wide is a vector?'])
    const index = { directUrl, embedder: { model: embedder.name, dimensions: vector.length } }
    return (await dropEmbeddingIndex(index)) ? index : undefined
  }
  return untilStopped(async (signal) => {
    const index = await dropIndex().catch((error) => report(`keeping the vector index: ${getErrorMessage(error)}`))
    try {
      if (index) report('dropped the vector index; it will be rebuilt after the load')
      return await load(signal)
    } finally {
      if (index) {
        report('building the vector index (if interrupted, run `npm run db:migrate`)')
        await buildEmbeddingIndex(index)
      }
    }
  })
}

/** Runs `work` with a signal that is aborted on the first Ctrl-C. The second one ends the process. */
export async function untilStopped<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = listenForStopSignals()
  try {
    return await work(stop.signal)
  } finally {
    stop.release()
  }
}

/** Aborts `signal` on the first stop signal. The next one has its default effect. */
function listenForStopSignals() {
  const stopping = new AbortController()
  const stop = () => {
    stopping.abort(new Error('interrupted. Queued files will still be processed; run the command again for the rest'))
    setTimeout(release, repeatMs).unref()
  }
  const release = () => {
    for (const name of stopSignals) process.off(name, stop)
  }
  for (const name of stopSignals) process.on(name, stop)
  return { signal: stopping.signal, release }
}
