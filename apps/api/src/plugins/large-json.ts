import type { Readable } from 'node:stream'
import { Worker } from 'node:worker_threads'
import { takeTurn } from '@repo/llm'
import { errorCodes } from 'fastify'
import { ProblemError } from './errors.ts'

/** A piece of a body. `last` ends the body and says what to keep of it. `abandoned` discards it. */
export type Task = { id: number } & (
  | { bytes: Uint8Array }
  | { last: true; lastOf: string | undefined }
  | { abandoned: true }
)
export type Problem = 'invalid_json' | 'too_deep' | 'too_many_values'
export type Parsed = { value: unknown } | { problem: Problem }

/** Bytes of a body that is parsed in the event loop: even nested arrays take only a few ms. */
const smallJson = 64 * 1024

/**
 * Reads JSON bodies. Small ones are returned as text. Larger ones are parsed in a thread while they arrive, because 8
 * MB take 40 ms, and up to 2 s if they contain only brackets.
 */
export function createJsonReader() {
  const thread = createThread()

  /**
   * Returns the text of a small body, or the value of a large one. With `lastOf`, only the last element of the array
   * with this name is kept. Rejects with Fastify's errors for bodies that are invalid or longer than `maxBytes`, and
   * with a `ProblemError` for too many values (413) or levels (400).
   */
  const read = async (payload: Readable, maxBytes: number, lastOf?: string) => {
    let chunks: Buffer[] = []
    let length = 0
    let body: ReturnType<typeof thread.open> | undefined
    try {
      // The client still gets a response, so a rejected body must not destroy its socket.
      for await (const chunk of payload.iterator({ destroyOnReturn: false })) {
        length += chunk.length
        if (length > maxBytes) throw new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE()
        chunks.push(chunk)
        if (length <= smallJson) continue
        body ??= thread.open()
        for (const bytes of chunks) body.write(bytes)
        chunks = []
        await takeTurn() // else one turn of the event loop reads megabytes of several bodies
      }
    } catch (error) {
      body?.abandon()
      throw error
    }
    return body ? { length, value: await body.end(lastOf) } : { length, text: Buffer.concat(chunks).toString() }
  }
  return { read, close: thread.close }
}

/** Creates the thread, which starts with the first large body. */
function createThread() {
  const waiting = new Map<number, { resolve: (parsed: Parsed) => void; reject: (error: unknown) => void }>()
  let worker: Worker | undefined
  let lastId = 0
  let previous: Promise<unknown> = Promise.resolve()

  const start = () => {
    const started = new Worker(new URL('./large-json-worker.ts', import.meta.url))
    started.unref()
    started.on('message', ({ id, parsed }: { id: number; parsed: Parsed }) => {
      waiting.get(id)?.resolve(parsed)
      waiting.delete(id)
    })
    started.on('error', fail) // out of memory
    started.on('messageerror', fail)
    started.on('exit', () => worker === started && fail(new Error('The JSON thread has ended.')))
    return started
  }
  const fail = (error: unknown) => {
    worker = undefined
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  }

  return {
    open: () => {
      worker ??= start()
      const [id, to] = [++lastId, worker]
      const send = (task: Task, transfer: ArrayBuffer[] = []) => to.postMessage(task, transfer)
      return {
        /** Copies the bytes, because Node reuses the memory of a socket's chunks. */
        write: (chunk: Buffer) => {
          const bytes = new Uint8Array(chunk)
          send({ id, bytes }, [bytes.buffer])
        },
        abandon: () => send({ id, abandoned: true }),
        /** Bodies are finished one after another: receiving several values in one turn would take 40 ms. */
        end: async (lastOf?: string): Promise<unknown> => {
          const parsed = previous.then(() => {
            if (worker !== to) throw new Error('The JSON thread has ended.') // nobody would respond
            const { promise, resolve, reject } = Promise.withResolvers<Parsed>()
            waiting.set(id, { resolve, reject })
            send({ id, last: true, lastOf })
            return promise
          })
          previous = parsed.catch(() => {})
          return toValue(await parsed)
        },
      }
    },
    close: async () => void (await worker?.terminate()),
  }
}

function toValue(parsed: Parsed): unknown {
  if ('value' in parsed) return parsed.value
  if (parsed.problem === 'invalid_json') throw new errorCodes.FST_ERR_CTP_INVALID_JSON_BODY()
  if (parsed.problem === 'too_deep')
    throw new ProblemError(400, 'invalid_json', 'The JSON body is nested too deeply. Use at most 500 levels.')
  const detail = 'The JSON body has more than 10,000 values. Split it into several requests.'
  throw new ProblemError(413, 'body_too_large', detail)
}
