import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { toStorableText, type Upload } from '@repo/db'
import { DocumentError, decodeText, type Extracted, textType } from '@repo/rag'
import { z } from 'zod'

const root = join(import.meta.dirname, '../../../..')
const child = join(import.meta.dirname, 'child.ts')

/** What reading one file may cost. A PDF of 1,000 pages takes about 5 s and 200 MB. */
type Limits = { timeMs: number; memoryMb: number; textLength: number }
const limits: Limits = { timeMs: 60_000, memoryMb: 1024, textLength: 2_000_000 }

const Answer = z.union([
  z.object({ text: z.string(), pages: z.array(z.number()).optional() }),
  z.object({ error: z.string() }),
])
const Failure = z.object({ code: z.union([z.number(), z.string()]).nullish(), signal: z.string().nullish() })

/**
 * Reads a file. A text is decoded here; anything else is read by a process of its own, which has no environment, may write
 * no file and start no program, and is killed when it takes too much time, memory or output: whatever it is made to do
 * ends with this one document. Throws `DocumentError`.
 */
export async function extract({ bytes, mediaType }: Upload, signal?: AbortSignal, limit = limits): Promise<Extracted> {
  const { text, pages } =
    mediaType === textType ? { text: decodeText(bytes) } : await runChild(bytes, mediaType, limit, signal)
  if (text.length > limit.textLength)
    throw new DocumentError(`It holds more than ${limit.textLength} characters of text: divide it.`)
  if (!/\S/.test(text)) throw new DocumentError('It holds no text.')
  return { text: toStorableText(text), ...(pages && { pages }) }
}

async function runChild(bytes: Buffer, mediaType: string, limit: Limits, signal?: AbortSignal): Promise<Extracted> {
  const node = [
    process.execPath,
    `--max-old-space-size=${limit.memoryMb / 2}`, // of JavaScript's own heap; the rest is for buffers and Node itself
    ...['--permission', `--allow-fs-read=${root}`, child, mediaType],
  ]
  // The kernel itself refuses what goes beyond, also once this worker is dead (memory on Linux alone: elsewhere only the
  // heap is bounded).
  const shell = `ulimit -t ${Math.ceil(limit.timeMs / 1000)}; ulimit -d ${limit.memoryMb * 1024} 2>&-; exec "$@"`
  const options = {
    env: {},
    timeout: limit.timeMs,
    killSignal: 'SIGKILL',
    maxBuffer: 4 * limit.textLength,
    signal,
  } as const
  const running = promisify(execFile)('sh', ['-c', shell, 'sh', ...node], options)
  running.child.stdin?.on('error', () => {}) // it may end before it has read everything
  running.child.stdin?.end(bytes)
  const { stdout } = await running.catch((error) => explain(error, limit, signal))
  const answer = Answer.parse(JSON.parse(stdout))
  if ('error' in answer) throw new DocumentError(answer.error)
  return answer
}

/** Of a process that did not answer. */
function explain(error: unknown, { timeMs, memoryMb, textLength }: Limits, signal?: AbortSignal): never {
  signal?.throwIfAborted()
  const { code, signal: deadly } = Failure.parse(error)
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
    throw new DocumentError(`It holds more than ${textLength} characters of text: divide it.`)
  if (deadly === 'SIGKILL' || deadly === 'SIGXCPU')
    throw new DocumentError(`To read it takes longer than ${timeMs / 1000} s: divide it, or save it anew.`)
  if (deadly || typeof code !== 'number' || code > 128)
    throw new DocumentError(`To read it takes more than ${memoryMb} MB of memory: divide it, or save it anew.`)
  throw error
}
