import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { toStorableText } from '@repo/db'
import { DocumentError, type Extracted, type PostedFile, readableTypes, textType } from '@repo/rag'
import { z } from 'zod'
import { decodeUnicode } from './decode.ts'
import { readExternally } from './external.ts'

const root = join(import.meta.dirname, '../../..')
const child = fileURLToPath(new URL('./child.ts', import.meta.url))

/** Limits for reading one file. A PDF of 1,000 pages takes about 5 s and 200 MB. */
type Limits = { timeMs: number; memoryMb: number; textLength: number }
const limits: Limits = { timeMs: 60_000, memoryMb: 1024, textLength: 2_000_000 }

const maxWarnings = 10

const Answer = z.union([
  z.object({ text: z.string(), pages: z.array(z.number()).optional(), warnings: z.array(z.string()).optional() }),
  z.object({ error: z.string() }),
])
const Failure = z.object({ code: z.union([z.number(), z.string()]).nullish(), signal: z.string().nullish() })

/** Returns `extract` with the URL of an external extractor for the types that we do not read ourselves. */
export const createExtract = (extractorUrl?: string) => (file: PostedFile, signal?: AbortSignal) =>
  extract(file, signal, limits, extractorUrl)

/**
 * Returns the text of a file. Plain text in Unicode is decoded here. Any other file is read by a child process that has
 * no environment, cannot write files or start programs, and is killed when it exceeds its time, memory or output limit.
 * A malicious file therefore affects only its own document. Throws `DocumentError`, and any error from reading the parts.
 */
export async function extract(
  file: PostedFile,
  signal?: AbortSignal,
  limit = limits,
  extractorUrl?: string,
): Promise<Extracted> {
  const read = !readableTypes.has(file.mediaType) && extractorUrl ? readExternally(extractorUrl) : readLocally
  const { text, pages, warnings = [] } = await read(file, limit, signal)
  if (text.length > limit.textLength) throw tooLong(limit)
  if (!/\S/.test(text)) throw new DocumentError('This file contains no text.')
  return { text: toStorableText(text), ...(pages && { pages }), warnings: warnings.slice(0, maxWarnings) }
}

const tooLong = ({ textLength }: Limits) =>
  new DocumentError(`This file contains more than ${textLength} characters of text. Split it.`)

async function readLocally(file: PostedFile, limit: Limits, signal?: AbortSignal): Promise<Extracted> {
  if (file.mediaType !== textType) return runChild(file, limit, signal)
  if (file.size > 4 * limit.textLength) throw tooLong(limit) // no encoding uses more than 4 bytes per UTF-16 unit
  const bytes = await buffer(file.parts)
  const text = decodeUnicode(bytes)
  return text === undefined ? runChild({ ...file, parts: Readable.from([bytes]) }, limit, signal) : { text }
}

async function runChild({ mediaType, parts }: PostedFile, limit: Limits, signal?: AbortSignal): Promise<Extracted> {
  const failed = new AbortController()
  const stop = AbortSignal.any([failed.signal, ...(signal ? [signal] : [])])
  const node = [
    process.execPath,
    `--max-old-space-size=${limit.memoryMb / 2}`, // JavaScript's heap; the rest is for buffers and Node itself
    ...['--permission', `--allow-fs-read=${root}`, child, mediaType],
  ]
  const options = {
    env: {},
    timeout: limit.timeMs,
    killSignal: 'SIGKILL',
    maxBuffer: 4 * limit.textLength,
    signal: stop,
  } as const
  const [program = '', ...args] = [...limitWith(limit), ...node]
  const running = promisify(execFile)(program, args, options)
  if (running.child.stdin) void feed(running.child.stdin, parts, (error) => failed.abort(error))
  const { stdout } = await running.catch((error) => explain(error, limit, stop))
  const answer = Answer.parse(JSON.parse(stdout))
  if ('error' in answer) throw new DocumentError(answer.error)
  return answer
}

/**
 * Returns the start of a command whose limits the kernel enforces even after this worker has exited. Linux has prlimit,
 * which needs no shell. Elsewhere memory cannot be limited, only the heap is.
 */
function limitWith({ timeMs, memoryMb }: Limits): string[] {
  const seconds = Math.ceil(timeMs / 1000)
  if (process.platform === 'linux') return ['prlimit', `--cpu=${seconds}`, `--data=${memoryMb * 2 ** 20}`]
  return ['sh', '-c', `ulimit -t ${seconds}; exec "$@"`, 'sh']
}

/** Without `onError`, a file that cannot be read to its end would look damaged to the child. */
async function feed(stdin: Writable, parts: AsyncIterable<Buffer>, onError: (error: unknown) => void) {
  async function* read() {
    try {
      yield* parts
    } catch (error) {
      onError(error)
      throw error
    }
  }
  await pipeline(read, stdin).catch(() => {}) // the child may exit before it has read everything
}

/** Throws the reason why a process did not respond. */
function explain(error: unknown, limit: Limits, signal: AbortSignal): never {
  signal.throwIfAborted()
  const { timeMs, memoryMb } = limit
  const { code, signal: deadly } = Failure.parse(error)
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') throw tooLong(limit)
  if (deadly === 'SIGKILL' || deadly === 'SIGXCPU')
    throw new DocumentError(`Reading this file takes longer than ${timeMs / 1000} s. Split it or save it again.`)
  if (deadly || typeof code !== 'number' || code > 128)
    throw new DocumentError(`Reading this file takes more than ${memoryMb} MB of memory. Split it or save it again.`)
  throw error
}
