import { Worker } from 'node:worker_threads'
import { errorCodes } from 'fastify'
import { ProblemError } from './errors.ts'

export type Task = { id: number; bytes: Uint8Array<ArrayBuffer>; lastOf: string | undefined }
export type Parsed = { value: unknown } | { problem: 'invalid_json' | 'too_many_values' }

/** Bytes of a body that are parsed in the event loop: at worst, nested arrays, they take it a few ms. */
export const smallJson = 64 * 1024

/**
 * Parses large JSON bodies in a thread of its own, which starts with the first one: 8 MB take 40 ms, and up to 2 s when they
 * are nothing but brackets. With `lastOf`, of the array of that name only the last element is kept.
 * `parse` rejects with Fastify's error for invalid JSON, or with a `ProblemError` 413 for too many values.
 */
export function createLargeJsonParser() {
  const waiting = new Map<number, { resolve: (parsed: Parsed) => void; reject: (error: unknown) => void }>()
  let worker: Worker | undefined
  let lastId = 0

  const start = () => {
    const started = new Worker(new URL('./large-json-worker.ts', import.meta.url))
    started.unref()
    started.on('message', ({ id, parsed }: { id: number; parsed: Parsed }) => {
      waiting.get(id)?.resolve(parsed)
      waiting.delete(id)
    })
    started.on('error', fail) // out of memory
    return started
  }
  const fail = (error: unknown) => {
    worker = undefined
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  }

  return {
    parse: async (bytes: Uint8Array<ArrayBuffer>, lastOf?: string): Promise<unknown> => {
      worker ??= start()
      lastId += 1
      const { promise, resolve, reject } = Promise.withResolvers<Parsed>()
      waiting.set(lastId, { resolve, reject })
      const task: Task = { id: lastId, bytes, lastOf }
      worker.postMessage(task, [bytes.buffer])
      const parsed = await promise
      if ('value' in parsed) return parsed.value
      if (parsed.problem === 'invalid_json') throw new errorCodes.FST_ERR_CTP_INVALID_JSON_BODY()
      const detail = 'The JSON body has more than 10,000 values. Split it into several requests.'
      throw new ProblemError(413, 'body_too_large', detail)
    },
    close: async () => void (await worker?.terminate()),
  }
}
