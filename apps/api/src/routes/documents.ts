import multipart from '@fastify/multipart'
import type { Cursor, DocumentSummary, NewDocument } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { receiveText, receiveUpload } from '../documents/upload.ts'
import { decodeCursor, PageQuery, toPage } from '../paging.ts'
import { ProblemError } from '../plugins/errors.ts'
import {
  DocumentForm,
  DocumentList,
  DocumentRequest,
  DocumentResponse,
  FormFields,
  Gone,
  maxTextLength,
  Params,
  TextQuery,
  TextResponse,
} from './documents.schemas.ts'

const maxPartLength = 100_000 // UTF-16 units; clients request longer texts in parts

const serveText: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '/:id/text',
    {
      config: { problems: { 404: ['document_not_found'] } },
      schema: {
        operationId: 'readDocumentText',
        summary: `Read a part of a document, from \`start\` to \`end\` as a source names them; at most ${maxPartLength} characters`,
        params: Params,
        querystring: TextQuery,
        response: { 200: TextResponse },
      },
    },
    async ({ owner, params: { id }, query: { start, end = maxTextLength } }) => {
      const part = { start, end: Math.min(end, start + maxPartLength) }
      const document = isUuid(id) && (await app.store.documents.readText(owner, id, part))
      if (!document) throw notFound()
      const { title, text, length } = document
      return { id, title, text, start, end: start + text.length, length }
    },
  )
}

const servePosts: FastifyPluginAsyncZod = async (app) => {
  await app.register(multipart)
  app.post(
    '',
    {
      config: {
        rateLimit: 'deferred',
        form: DocumentForm,
        problems: { 413: ['document_too_large', 'too_many_parts'], 415: ['unsupported_file'] },
      },
      bodyLimit: 8 * 1024 * 1024, // bytes of JSON; two million characters are at most six, and JSON escapes some
      attachValidation: true, // a file is not JSON
      schema: {
        operationId: 'addDocument',
        summary: 'Add a document',
        description: `Posting the same content again does not create a second one. Send either JSON, or one file (text, Markdown, CSV, HTML, .ipynb, PDF, .docx) as multipart/form-data, optionally with \`title\`, \`externalId\` and \`metadata\` (JSON). At most ${app.maxUploadBytes} bytes. A worker reads and embeds it.`,
        body: DocumentRequest,
        response: { 202: DocumentResponse },
      },
    },
    async (request, reply) => {
      if (request.validationError && !request.isMultipart()) throw request.validationError
      const add = (posted: NewDocument) =>
        app.store.documents.add(request.owner, { ...posted, embeddingModel: app.llm.embedder.name })
      const { hasExtractor, maxUploadBytes: maxBytes } = app
      const upload = { uploads: app.store.uploads, maxBytes, hasExtractor }
      const { version: _, ...document } = request.isMultipart()
        ? await receiveUpload(request, FormFields, upload, add)
        : await receiveText(request, assertTextLength(request.body), upload, add)
      return reply.code(202).send(toResponse(document))
    },
  )
}

function assertTextLength(body: z.output<typeof DocumentRequest>) {
  if (body.text.length > maxTextLength) throw tooLarge()
  return body
}

const routes: FastifyPluginAsyncZod = async (app) => {
  await app.register(servePosts)
  await app.register(serveText)

  app.get(
    '',
    {
      config: { problems: { 400: ['invalid_cursor'] } },
      schema: {
        operationId: 'listDocuments',
        summary: 'List documents, newest first',
        querystring: PageQuery,
        response: { 200: DocumentList },
      },
    },
    async ({ owner, query: { limit, after } }) => {
      const rows = await app.store.documents.list(owner, limit + 1, readCursor(after))
      return toPage(rows, limit, (row) => row.createdAt, toResponse)
    },
  )

  app.get(
    '/:id',
    {
      config: { problems: { 404: ['document_not_found'] } },
      schema: {
        operationId: 'readDocument',
        summary: "Read a document's state",
        params: Params,
        response: { 200: DocumentResponse },
      },
    },
    async ({ owner, params: { id } }) => {
      const document = isUuid(id) && (await app.store.documents.find(owner, id))
      if (!document) throw notFound()
      return toResponse(document)
    },
  )

  app.delete(
    '/:id',
    {
      config: { problems: { 404: ['document_not_found'] } },
      schema: { operationId: 'deleteDocument', summary: 'Delete a document', params: Params, response: { 204: Gone } },
    },
    async ({ owner, params: { id } }, reply) => {
      if (!isUuid(id) || !(await app.store.documents.remove(owner, id))) throw notFound()
      return reply.code(204).send()
    },
  )
}

function readCursor(after: string | undefined): Cursor | undefined {
  const cursor = decodeCursor(after)
  if (cursor && !isUuid(cursor.id))
    throw new ProblemError(400, 'invalid_cursor', 'Invalid cursor. Use the `next` value of the previous page.')
  return cursor
}

const notFound = () => new ProblemError(404, 'document_not_found', 'Document not found. See GET /documents for yours.')
const tooLarge = () =>
  new ProblemError(413, 'document_too_large', `The document exceeds ${maxTextLength} characters. Split it.`)
const toResponse = ({ createdAt, ...row }: DocumentSummary) => ({ ...row, createdAt: createdAt.toISOString() })
const isUuid = (id: string) => z.uuid().safeParse(id).success

export default routes
