import { buildEmbeddingIndex, dropEmbeddingIndex } from '@repo/db/migrate'
import type { Embedder } from '@repo/llm'
import { explain } from './command.ts'

export type BulkLoadOptions = {
  /** Straight to Postgres, as the role that owns the tables. */
  directUrl: string
  embedder: Pick<Embedder, 'name' | 'embed'>
  report: (line: string) => void
}

const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const repeatMs = 500 // npm repeats the terminal's Ctrl-C: what comes within half a second is one

/**
 * Runs a load without the embedder's index, where few would miss it, and builds it once the load has ended, however it
 * does: `signal` tells it of Ctrl-C, and the next Ctrl-C ends the process. Where the index stays, it only runs the load.
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
  const stop = listenToStop()
  const index = await dropIndex().catch((error) => report(`the vector index stays: ${explain(error)}`))
  try {
    if (index) report('the vector index is dropped, and built when all is taken in')
    return await load(stop.signal)
  } finally {
    if (index) {
      report('building the vector index; if that is cut off, `npm run db:migrate` builds it')
      await buildEmbeddingIndex(index)
    }
    stop.release()
  }
}

/** Once it has told of one, the next signal has its usual effect. */
function listenToStop() {
  const stopping = new AbortController()
  const stop = () => {
    stopping.abort(new Error('it was stopped; the worker goes on with what is queued, the next run with the rest'))
    setTimeout(release, repeatMs).unref()
  }
  const release = () => {
    for (const name of stopSignals) process.off(name, stop)
  }
  for (const name of stopSignals) process.on(name, stop)
  return { signal: stopping.signal, release }
}
