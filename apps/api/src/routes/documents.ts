import multipart from '@fastify/multipart'
import { type Cursor, type DocumentSummary, type NewDocument, toStorableText } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { Metadata, MetadataText } from '../documents/metadata.ts'
import { receiveText, receiveUpload } from '../documents/upload.ts'
import { decodeCursor, PageQuery, toPage } from '../paging.ts'
import { ProblemError } from '../plugins/errors.ts'

const maxPartLength = 100_000 // UTF-16 units; clients request longer texts in parts
const maxTextLength = 2_000_000 // UTF-16 units, a book of 700 pages

const Text = z.string().regex(/\S/, 'should not be empty')

const Short = Text.transform(toStorableText).refine((text) => text.length <= 500, 'should have at most 500 characters')

const DocumentFields = z.object({
  title: Short,
  externalId: Short.optional().meta({
    description: 'Your own name for it: other content under the same name takes its place',
  }),
})

/** In a form with a file, each field is a text. */
const FormFields = DocumentFields.extend({ metadata: MetadataText.optional() })

const DocumentRequest = DocumentFields.extend({
  metadata: Metadata.optional().meta({ description: 'What `GET /search?filter=` may ask for' }),
  text: Text.meta({ description: 'Plain text or Markdown' }),
}).meta({
  examples: [
    {
      title: 'Handbook',
      externalId: 'faq/opening',
      metadata: { team: 'ops' },
      text: '# Opening hours\n\nMonday to Friday, 9 to 5.',
    },
  ],
})

const document = {
  id: '3f0d2c8e-6f0b-4c39-9a53-0d3f8f2f5c11',
  externalId: 'faq/opening',
  title: 'Handbook',
  metadata: { team: 'ops' },
  status: 'ready',
  progress: 1,
  error: null,
  createdAt: '2026-11-24T09:00:00.000Z',
}

const DocumentResponse = z
  .object({
    id: z.string(),
    externalId: z.string().nullable(),
    title: z.string(),
    metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
    status: z.enum(['queued', 'processing', 'ready', 'failed']).meta({
      description:
        'Of the content that was posted last. What the document held before is searched until that is ready.',
    }),
    progress: z.number().min(0).max(1).meta({ description: 'The part that is embedded; 1 when it is ready' }),
    error: z.string().nullable().meta({ description: 'Why it failed, or why it has to be tried again' }),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Document', description: 'A document and what has become of it', examples: [document] })

const DocumentList = z
  .object({ items: z.array(DocumentResponse), next: z.string().nullable() })
  .meta({ description: 'A page', examples: [{ items: [document], next: null }] })
const passage = {
  id: document.id,
  title: 'Handbook',
  text: 'Monday to Friday, 9 to 5.',
  start: 17,
  end: 42,
  length: 42,
}

const TextResponse = z
  .object({
    id: z.string(),
    title: z.string(),
    text: z.string(),
    start: z.int().meta({ description: 'Where in the document this text begins, in UTF-16 units, as sources count' }),
    end: z.int(),
    length: z.int().meta({ description: 'Of the whole document' }),
  })
  .meta({ description: 'A part of a document’s text', examples: [passage] })
const Gone = z.undefined().meta({ description: 'The document is gone' })

const notFound = () => new ProblemError(404, 'document_not_found', 'Document not found.')
const tooLarge = () =>
  new ProblemError(413, 'document_too_large', `A document has at most ${maxTextLength} characters. Split it.`)
const toResponse = ({ createdAt, ...row }: DocumentSummary) => ({ ...row, createdAt: createdAt.toISOString() })

/** Any other string is not a document's id: 404, as for another owner's. */
const Params = z.object({ id: z.string().meta({ examples: [document.id] }) })
const isUuid = (id: string) => z.uuid().safeParse(id).success
const Part = z.object({
  start: z.coerce.number().int().min(0).max(maxTextLength).default(0),
  end: z.coerce.number().int().min(0).max(maxTextLength).optional(),
})

const serveText: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '/:id/text',
    {
      config: { problems: { 404: ['document_not_found'] } },
      schema: {
        operationId: 'readDocumentText',
        summary: `Read a part of a document, from \`start\` to \`end\` as a source names them; at most ${maxPartLength} characters`,
        params: Params,
        querystring: Part,
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
        form: FormFields.partial().extend({ file: z.file() }),
        problems: { 413: ['document_too_large', 'too_many_parts'], 415: ['unsupported_file'] },
      },
      bodyLimit: 8 * 1024 * 1024, // bytes of JSON; two million characters are at most six, and JSON escapes some
      attachValidation: true, // a file is not JSON
      schema: {
        operationId: 'addDocument',
        summary: 'Add a document for the worker to take in; the same content twice is one document',
        description: `Either JSON, or one file (text, Markdown, HTML, PDF, .docx) as multipart/form-data, with \`title\`, \`externalId\` and \`metadata\` (JSON) beside it if you like. At most ${app.maxUploadBytes} bytes.`,
        body: DocumentRequest,
        response: { 202: DocumentResponse },
      },
    },
    async (request, reply) => {
      if (request.validationError && !request.isMultipart()) throw request.validationError
      const add = (posted: NewDocument) =>
        app.store.documents.add(request.owner, { ...posted, embeddingModel: app.llm.embedder.name })
      const upload = { uploads: app.store.uploads, maxBytes: app.maxUploadBytes }
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
        summary: 'Read a document’s state',
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

export default routes
