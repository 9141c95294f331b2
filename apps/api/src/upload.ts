import { createHash, randomUUID } from 'node:crypto'
import { type Metadata, type NewDocument, partSize, type Store } from '@repo/db'
import { createSniffer, hashContent, MediaTypeError } from '@repo/rag'
import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { ProblemError } from './plugins/errors.ts'

type Given = { title?: string | undefined; externalId?: string | undefined; metadata?: Metadata | undefined }

export type UploadOptions = { uploads: Store['uploads']; maxBytes: number }

/**
 * Receives a document as `multipart/form-data`: one file, and the fields that `Fields` knows. The file is stored while it
 * arrives, at most a few parts of it are in memory. `add` makes a document of it; whatever it does not use is removed
 * again. Returns what `add` returns. Throws `ProblemError`: 400, 413, 415.
 */
export async function receiveUpload<Fields extends Given, T>(
  request: FastifyRequest,
  Fields: z.ZodType<Fields>,
  options: UploadOptions,
  add: (document: NewDocument) => Promise<T>,
): Promise<T> {
  const uploadId = randomUUID()
  try {
    assertLength(request, options.maxBytes)
    const { file, given } = await readForm(request, uploadId, options).catch(explain)
    if (!file) throw invalid('/file', 'is missing: send one file')
    const fields = Fields.safeParse({ title: file.filename, ...given })
    if (!fields.success) {
      const [issue] = fields.error.issues
      throw invalid(`/${issue?.path.join('/') ?? ''}`, issue?.message ?? '')
    }
    const { title = file.filename, externalId, metadata } = fields.data
    return await add({ title, externalId, metadata, contentHash: hashContent(title, file.hash, externalId), uploadId })
  } catch (error) {
    request.raw.unpipe().resume() // browsers read no response before they have sent the whole body
    throw error
  } finally {
    const onError = (error: unknown) => request.log.warn({ err: error }, 'failed to remove an upload; the sweep will')
    await options.uploads.discard(request.owner, uploadId).catch(onError)
  }
}

/** Rejects by its length what is larger than any accepted form, before it is read. */
function assertLength({ headers }: FastifyRequest, maxBytes: number) {
  if (Number(headers['content-length']) > maxBytes + limits.fields * limits.fieldSize + maxHeadBytes)
    throw tooLarge(maxBytes)
}

const limits = { files: 1, fields: 10, fieldSize: 10_000 }
const maxHeadBytes = 100_000 // the form's own lines; busboy accepts up to 80 kB of headers per part

async function readForm(request: FastifyRequest, uploadId: string, options: UploadOptions) {
  const given: Record<string, unknown> = {}
  let file: { filename: string; hash: ReturnType<typeof createHash> } | undefined
  // The size is checked here: the parser's own limit would cut the file off before it says so.
  for await (const part of request.parts({ limits: { ...limits, fileSize: Number.POSITIVE_INFINITY } })) {
    if (part.type === 'field') given[part.fieldname] = part.value
    else file = await storeFile(part.file, part.filename, { ...options, owner: request.owner, uploadId })
  }
  return { file, given }
}

/** Reads no further than it has stored, so that a client is slowed down to what the database takes. */
async function storeFile(
  file: AsyncIterable<Buffer>,
  filename: string,
  { uploads, maxBytes, owner, uploadId }: UploadOptions & { owner: string; uploadId: string },
) {
  const hash = createHash('sha256')
  const sniff = createSniffer(filename)
  let number = 0
  for await (const part of divide(file, maxBytes)) {
    const mediaType = sniffPart(sniff, part)
    hash.update(part)
    if (number === 0) await uploads.open(owner, { id: uploadId, title: filename, mediaType })
    if (!(await uploads.addPart(owner, uploadId, number, part)))
      throw new Error('An upload was swept while it arrived.')
    number += 1
  }
  if (number === 0) throw invalid('/file', 'should not be empty')
  return { filename, hash }
}

/**
 * The same bytes in parts of `partSize`, the last one shorter. All share one buffer: a part is valid until the next one is
 * asked for. Throws `ProblemError` (413) beyond `maxBytes`.
 */
async function* divide(chunks: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Buffer> {
  const part = Buffer.allocUnsafe(partSize)
  let [length, total] = [0, 0]
  for await (const chunk of chunks) {
    total += chunk.length
    if (total > maxBytes) throw tooLarge(maxBytes)
    for (let at = 0; at < chunk.length; ) {
      const copied = chunk.copy(part, length, at)
      at += copied
      length += copied
      if (length < partSize) continue
      yield part
      length = 0
    }
  }
  if (length > 0) yield part.subarray(0, length)
}

function sniffPart(sniff: ReturnType<typeof createSniffer>, part: Buffer): string {
  try {
    return sniff(part)
  } catch (error) {
    if (error instanceof MediaTypeError) throw new ProblemError(415, error.code, error.message)
    throw error
  }
}

/** The parser's own errors have no code: the form is no form, or ends too early. */
function explain(error: unknown): never {
  if (error instanceof Error && 'code' in error && error.code) throw error
  throw new ProblemError(
    400,
    'invalid_body',
    'The form cannot be read: it is cut off, or not built as its boundary says.',
  )
}

const tooLarge = (maxBytes: number) =>
  new ProblemError(
    413,
    'document_too_large',
    `A file has at most ${maxBytes / 1024 / 1024} MB: divide it, or leave out its pictures.`,
  )

function invalid(path: string, message: string): ProblemError {
  const errors = [{ path, message }]
  return new ProblemError(400, 'invalid_request', `${path}: ${message}`, { param: path.slice(1), extra: { errors } })
}
