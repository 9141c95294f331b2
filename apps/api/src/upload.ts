import { maxFileSize } from '@repo/config'
import type { Metadata, NewDocument } from '@repo/db'
import { hashContent, MediaTypeError, sniffMediaType } from '@repo/rag'
import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { ProblemError } from './plugins/errors.ts'

const limits = { fileSize: maxFileSize, files: 1, fields: 10, fieldSize: 10_000 }

type Given = { title?: string | undefined; externalId?: string | undefined; metadata?: Metadata | undefined }

/**
 * Reads a document from a `multipart/form-data` request: one file, and the fields that `Fields` knows. Its type is what
 * its bytes say. Throws `ProblemError`: 400, 413, 415.
 */
export async function readUpload<Fields extends Given>(
  request: FastifyRequest,
  Fields: z.ZodType<Fields>,
): Promise<NewDocument> {
  const { file, given } = await readForm(request).catch(explain)
  if (!file) throw invalid('/file', 'is missing: send one file')
  if (file.bytes.length === 0) throw invalid('/file', 'should not be empty')
  const fields = Fields.safeParse({ title: file.filename, ...given })
  if (!fields.success) {
    const [issue] = fields.error.issues
    throw invalid(`/${issue?.path.join('/') ?? ''}`, issue?.message ?? '')
  }
  const { title = file.filename, externalId, metadata } = fields.data
  const contentHash = hashContent(title, file.bytes, externalId)
  return { title, externalId, metadata, contentHash, bytes: file.bytes, mediaType: sniff(file.bytes, file.filename) }
}

async function readForm(request: FastifyRequest) {
  const given: Record<string, unknown> = {}
  let file: { filename: string; bytes: Buffer } | undefined
  for await (const part of request.parts({ limits })) {
    if (part.type === 'file') file = { filename: part.filename, bytes: await part.toBuffer() }
    else given[part.fieldname] = part.value
  }
  return { file, given }
}

/** The parser's own errors have no code: the form is no form, or ends too early. */
function explain(error: unknown): never {
  const code = error instanceof Error && 'code' in error && error.code
  // Comes from the file, or from the form when the limit fell between two chunks of it.
  if (code === 'FST_REQ_FILE_TOO_LARGE') {
    const detail = `A file has at most ${maxFileSize / 1024 / 1024} MB: divide it, or leave out its pictures.`
    throw new ProblemError(413, 'document_too_large', detail)
  }
  if (code) throw error
  throw new ProblemError(
    400,
    'invalid_body',
    'The form cannot be read: it is cut off, or not built as its boundary says.',
  )
}

function sniff(bytes: Buffer, filename: string): string {
  try {
    return sniffMediaType(bytes, filename)
  } catch (error) {
    if (error instanceof MediaTypeError) throw new ProblemError(415, error.code, error.message)
    throw error
  }
}

function invalid(path: string, message: string): ProblemError {
  const errors = [{ path, message }]
  return new ProblemError(400, 'invalid_request', `${path}: ${message}`, { param: path.slice(1), extra: { errors } })
}
