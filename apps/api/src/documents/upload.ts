import { createHash, randomUUID } from 'node:crypto'
import { endsInHighSurrogate, type Metadata, type NewDocument, partSize, type Store, toStorableText } from '@repo/db'
import { takeTurn } from '@repo/llm'
import { createSniffer, hashContent, MediaTypeError, textType } from '@repo/rag'
import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { ProblemError } from '../plugins/errors.ts'

type Given = {
  title?: string | undefined
  externalId?: string | undefined
  metadata?: Metadata | undefined
  shared?: boolean | undefined
}

/** A document as it was posted. */
export type Posted = NewDocument & { shared: boolean }

export type UploadOptions = { uploads: Store['uploads']; maxBytes: number; hasExtractor: boolean }

/**
 * Receives a document as `multipart/form-data`: one file, and the fields in `Fields`. The file is stored while it
 * arrives, with at most a few parts in memory. `add` creates a document from it. An upload that `add` does not use is
 * removed. Returns what `add` returns. Throws `ProblemError`: 400, 413, 415.
 */
export async function receiveUpload<Fields extends Given, T>(
  request: FastifyRequest,
  Fields: z.ZodType<Fields>,
  options: UploadOptions,
  add: (document: Posted) => Promise<T>,
): Promise<T> {
  return withUpload(request, options, async (uploadId) => {
    assertLength(request, options.maxBytes)
    const { file, given } = await readForm(request, uploadId, options).catch(explain)
    if (!file) throw invalid('/file', 'is missing. Send one file')
    const fields = Fields.safeParse({ title: file.filename, ...given })
    if (!fields.success) {
      const [issue] = fields.error.issues
      throw invalid(`/${issue?.path.join('/') ?? ''}`, issue?.message ?? '')
    }
    const { title = file.filename, externalId, metadata, shared = false } = fields.data
    return add({
      title,
      externalId,
      metadata,
      shared,
      contentHash: hashContent(title, file.hash, externalId),
      uploadId,
    })
  })
}

/**
 * Receives a document whose text is in memory, and stores it like a file. A long text is encoded, hashed and sent in
 * parts, so that no turn of the event loop is long. Returns what `add` returns.
 */
export function receiveText<T>(
  request: FastifyRequest,
  { text, shared = false, ...fields }: Given & { title: string; text: string },
  { uploads }: Pick<UploadOptions, 'uploads'>,
  add: (document: Posted) => Promise<T>,
): Promise<T> {
  return withUpload(request, { uploads }, async (uploadId) => {
    const upload = { uploads, owner: request.owner, uploadId, title: fields.title }
    const { hash } = await storeParts(encodeInParts(text), async () => textType, upload)
    return add({ ...fields, shared, contentHash: hashContent(fields.title, hash, fields.externalId), uploadId })
  })
}

/** Runs `work` with the id of a new upload. The upload is removed afterwards unless a document uses it. */
async function withUpload<T>(
  request: FastifyRequest,
  { uploads }: Pick<UploadOptions, 'uploads'>,
  work: (uploadId: string) => Promise<T>,
): Promise<T> {
  const uploadId = randomUUID()
  try {
    return await work(uploadId)
  } catch (error) {
    request.raw.unpipe().resume() // browsers read no response before they have sent the whole body
    throw error
  } finally {
    const onError = (error: unknown) => request.log.warn({ err: error }, 'failed to remove an upload; the sweep will')
    await uploads.discard(request.owner, uploadId).catch(onError)
  }
}

/** Throws `ProblemError` (413) for a length beyond any accepted form, before reading it. */
function assertLength({ headers }: FastifyRequest, maxBytes: number) {
  if (Number(headers['content-length']) > maxBytes + limits.fields * limits.fieldSize + maxHeadBytes)
    throw tooLarge(maxBytes)
}

const limits = { files: 1, fields: 10, fieldSize: 10_000 }
const maxHeadBytes = 100_000 // for the form's own lines; busboy accepts up to 80 kB of headers per part

async function readForm(request: FastifyRequest, uploadId: string, options: UploadOptions) {
  const given: Record<string, unknown> = {}
  let file: { filename: string; hash: ReturnType<typeof createHash> } | undefined
  // The size is checked here, because the parser's own limit would truncate the file before reporting it.
  for await (const part of request.parts({ limits: { ...limits, fileSize: Number.POSITIVE_INFINITY } })) {
    if (part.type === 'field') given[part.fieldname] = part.value
    else file = await storeFile(part.file, part.filename, { ...options, owner: request.owner, uploadId })
  }
  return { file, given }
}

async function storeFile(
  file: AsyncIterable<Buffer>,
  filename: string,
  { maxBytes, hasExtractor, ...upload }: UploadOptions & { owner: string; uploadId: string },
) {
  const sniff = createSniffer({ filename, hasExtractor })
  const parts = divide(file, maxBytes)
  const { hash, count } = await storeParts(parts, (part) => sniffPart(sniff, part), { ...upload, title: filename })
  if (count === 0) throw invalid('/file', 'must not be empty')
  return { filename, hash }
}

/**
 * Stores parts one after another, and reads only what it has stored. This slows a client down to the speed of the
 * database. Returns the hash of all parts, and their number.
 */
async function storeParts(
  parts: AsyncIterable<Buffer>,
  sniff: (part: Buffer) => Promise<string>,
  {
    uploads,
    owner,
    uploadId,
    title,
  }: Pick<UploadOptions, 'uploads'> & { owner: string; uploadId: string; title: string },
) {
  const hash = createHash('sha256')
  let number = 0
  for await (const part of parts) {
    const mediaType = await sniff(part)
    hash.update(part)
    if (number === 0) await uploads.open(owner, { id: uploadId, title, mediaType })
    if (!(await uploads.addPart(owner, uploadId, number, part)))
      throw new Error('An upload was swept while it arrived.')
    number += 1
  }
  return { hash, count: number }
}

/** Yields the UTF-8 of a storable text in parts of at most `partSize`, without dividing characters. */
async function* encodeInParts(text: string): AsyncGenerator<Buffer> {
  for (let start = 0; start < text.length; ) {
    const end = start + Math.floor(partSize / 3) // a UTF-16 unit takes at most three bytes
    const cut = endsInHighSurrogate(text, end) ? end - 1 : end
    await takeTurn() // else several documents are encoded in one turn of the event loop
    yield Buffer.from(toStorableText(text.slice(start, cut)))
    start = cut
  }
}

/**
 * Yields the same bytes in parts of `partSize`, the last one shorter. All share one buffer, so a part is valid until
 * the next one is requested. Throws `ProblemError` (413) beyond `maxBytes`.
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

async function sniffPart(sniff: ReturnType<typeof createSniffer>, part: Buffer): Promise<string> {
  try {
    return await sniff(part)
  } catch (error) {
    if (error instanceof MediaTypeError) throw new ProblemError(415, error.code, error.message)
    throw error
  }
}

/**
 * Throws `ProblemError` (400) for an unreadable form: errors of the form parser have no code. Other errors are thrown
 * unchanged.
 */
function explain(error: unknown): never {
  if (error instanceof Error && 'code' in error && error.code) throw error
  throw new ProblemError(
    400,
    'invalid_body',
    'Invalid form: it is incomplete or does not match its boundary. Send it again.',
  )
}

const tooLarge = (maxBytes: number) =>
  new ProblemError(
    413,
    'document_too_large',
    `The file exceeds ${maxBytes / 1024 / 1024} MB. Split it, or remove its images.`,
  )

function invalid(path: string, message: string): ProblemError {
  const errors = [{ path, message }]
  return new ProblemError(400, 'invalid_request', `${path}: ${message}`, { param: path.slice(1), extra: { errors } })
}
