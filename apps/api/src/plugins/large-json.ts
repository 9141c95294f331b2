import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Transferable, Worker } from 'node:worker_threads'
import { takeTurn } from '@repo/llm'
import { errorCodes } from 'fastify'
import { ProblemError } from './errors.ts'

/**
 * A piece of a body. `last` ends the body and says what to keep of it, and where its texts are sent. `abandoned` discards
 * it.
 */
export type Task = { id: number } & (
  | { bytes: Uint8Array }
  | { last: true; lastOf: string | undefined; texts: MessagePort }
  | { abandoned: true }
)
export type Problem = 'invalid_json' | 'not_utf8' | 'too_deep' | 'too_many_values' | 'text_too_long'
/** A string of a body, and the keys that lead to it. */
export type Text = { path: string[]; text: string }
/** `root.value` is the body without its longer strings, which were sent in batches. */
export type Parsed = { root: Branch; batches: number } | { problem: Problem }
type Branch = { [key: string]: Branch | string }

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
   * with this name is kept, and the id of the one before. Rejects with Fastify's errors for bodies that are invalid or longer than `maxBytes`, and
   * with a `ProblemError` for too many values (413) or levels (400), or for bytes that are not UTF-8 (400).
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
    return body ? { length, value: await body.end(lastOf) } : { length, text: decode(Buffer.concat(chunks)) }
  }
  return { read, close: thread.close }
}

function decode(body: Buffer): string {
  if (!isUtf8(body)) throw toError('not_utf8')
  return body.toString()
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
      const send = (task: Task, transfer: Transferable[] = []) => to.postMessage(task, transfer)
      return {
        /** Copies the bytes, because Node reuses the memory of a socket's chunks. */
        write: (chunk: Buffer) => {
          const bytes = new Uint8Array(chunk)
          send({ id, bytes }, [bytes.buffer])
        },
        abandon: () => send({ id, abandoned: true }),
        /** Bodies are finished one after another: receiving texts of several in one turn would block it. */
        end: async (lastOf?: string): Promise<unknown> => {
          const received = previous.then(async () => {
            if (worker !== to) throw new Error('The JSON thread has ended.') // nobody would respond
            const { promise, resolve, reject } = Promise.withResolvers<Parsed>()
            waiting.set(id, { resolve, reject })
            const { port1, port2 } = new MessageChannel()
            send({ id, last: true, lastOf, texts: port2 }, [port2])
            return promise.then((parsed) => receive(parsed, port1)).finally(() => port1.close())
          })
          previous = received.catch(() => {})
          return received
        },
      }
    },
    close: async () => void (await worker?.terminate()),
  }
}

/** Returns the body. Receives its texts in a turn of the event loop per batch. */
async function receive(parsed: Parsed, port: MessagePort): Promise<unknown> {
  if ('problem' in parsed) throw toError(parsed.problem)
  for (let left = parsed.batches; left > 0; left -= 1) {
    await takeTurn()
    const batch: Text[] = receiveMessageOnPort(port)?.message
    for (const { path, text } of batch) put(parsed.root, path, text)
  }
  return parsed.root.value
}

function put(branch: Branch, [key = '', ...rest]: string[], text: string): void {
  const inner = branch[key]
  if (typeof inner === 'object') put(inner, rest, text)
  else branch[key] = text
}

function toError(problem: Problem): Error {
  if (problem === 'invalid_json') return new errorCodes.FST_ERR_CTP_INVALID_JSON_BODY()
  if (problem === 'not_utf8')
    return new ProblemError(400, 'invalid_json', 'The request body is not valid UTF-8. Send JSON as UTF-8.')
  if (problem === 'too_deep')
    return new ProblemError(400, 'invalid_json', 'The JSON body is nested too deeply. Use at most 500 levels.')
  return new ProblemError(413, 'body_too_large', tooLarge[problem])
}

const tooLarge = {
  too_many_values: 'The JSON body has more than 10,000 values. Split it into several requests.',
  text_too_long: 'The JSON body has a text of more than 5 MB. Split it or send less.',
}
