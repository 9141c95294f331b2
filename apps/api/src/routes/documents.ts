import multipart from '@fastify/multipart'
import { type DocumentSummary, type NewDocument, toStorableText } from '@repo/db'
import { hashContent } from '@repo/rag'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { decodeCursor, PageQuery, toPage } from '../paging.ts'
import { ProblemError, problems } from '../plugins/errors.ts'
import { maxFileSize, readUpload } from '../upload.ts'

const maxTextLength = 2_000_000 // UTF-16 units, a book of 700 pages

const Text = z.string().regex(/\S/, 'should not be empty').transform(toStorableText)

const Short = Text.refine((text) => text.length <= 500, 'should have at most 500 characters')

const DocumentFields = z.object({
  title: Short.meta({ examples: ['Handbook'] }),
  externalId: Short.optional().meta({
    description: 'Your own name for it: other content under the same name takes its place',
    examples: ['faq/opening'],
  }),
})

const DocumentRequest = DocumentFields.extend({
  text: Text.meta({
    description: 'Plain text or Markdown',
    examples: ['# Opening hours\n\nMonday to Friday, 9 to 5.'],
  }),
})

const DocumentResponse = z.object({
  id: z.string(),
  externalId: z.string().nullable(),
  title: z.string(),
  status: z.enum(['queued', 'processing', 'ready', 'failed']).meta({
    description: 'Of the content that was posted last. What the document held before is searched until that is ready.',
  }),
  progress: z.number().min(0).max(1).meta({ description: 'The part that is embedded; 1 when it is ready' }),
  error: z.string().nullable().meta({ description: 'Why it failed, or why it has to be tried again' }),
  createdAt: z.iso.datetime(),
})

const DocumentList = z.object({ items: z.array(DocumentResponse), next: z.string().nullable() })

const tags = ['documents']
const notFound = () => new ProblemError(404, 'document_not_found', 'There is no such document.')
const tooLarge = () =>
  new ProblemError(413, 'document_too_large', `A document holds at most ${maxTextLength} characters: divide it.`)
const toResponse = ({ createdAt, ...row }: DocumentSummary) => ({ ...row, createdAt: createdAt.toISOString() })

/** Any other string is the id of no document: 404, like another owner's. */
const DocumentParams = z.object({ id: z.string() })
const isUuid = (id: string) => z.uuid().safeParse(id).success

const servePosts: FastifyPluginAsyncZod = async (app) => {
  await app.register(multipart)
  app.post(
    '',
    {
      config: { isCostly: true },
      bodyLimit: 8 * 1024 * 1024, // bytes of JSON; two million characters are at most six, and JSON escapes some
      attachValidation: true, // a file is no JSON
      schema: {
        summary: 'Add a document for the worker to take in; the same content twice is one document',
        description: `Either JSON, or one file (text, Markdown, HTML, PDF, .docx) as multipart/form-data, with \`title\` and \`externalId\` beside it if you like. At most ${maxFileSize} bytes.`,
        tags,
        body: DocumentRequest,
        response: { 202: DocumentResponse, ...problems },
      },
    },
    async (request, reply) => {
      if (request.validationError && !request.isMultipart()) throw request.validationError
      const posted = request.isMultipart() ? await readUpload(request, DocumentFields) : readText(request.body)
      const embeddingModel = app.llm.embedder.name
      const { version: _, ...document } = await app.store.documents.add(request.owner, { ...posted, embeddingModel })
      return reply.code(202).send(toResponse(document))
    },
  )
}

function readText(body: z.output<typeof DocumentRequest>): NewDocument {
  if (body.text.length > maxTextLength) throw tooLarge()
  return { ...body, contentHash: hashContent(body.title, body.text, body.externalId) }
}

const routes: FastifyPluginAsyncZod = async (app) => {
  await app.register(servePosts)

  app.get(
    '',
    {
      schema: {
        summary: 'List documents, newest first',
        tags,
        querystring: PageQuery,
        response: { 200: DocumentList, ...problems },
      },
    },
    async ({ owner, query: { limit, after } }) => {
      const cursor = decodeCursor(after)
      if (cursor && !isUuid(cursor.id)) throw new ProblemError(400, 'invalid_cursor', 'This cursor is of another list.')
      return toPage(await app.store.documents.list(owner, limit + 1, cursor), limit, (row) => row.createdAt, toResponse)
    },
  )

  app.get(
    '/:id',
    {
      schema: {
        summary: 'Read a document’s state',
        tags,
        params: DocumentParams,
        response: { 200: DocumentResponse, ...problems },
      },
    },
    async ({ owner, params: { id } }) => {
      const document = isUuid(id) ? await app.store.documents.find(owner, id) : undefined
      if (!document) throw notFound()
      return toResponse(document)
    },
  )

  app.delete(
    '/:id',
    {
      schema: {
        summary: 'Delete a document',
        tags,
        params: DocumentParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async ({ owner, params: { id } }, reply) => {
      if (!isUuid(id) || !(await app.store.documents.remove(owner, id))) throw notFound()
      return reply.code(204).send()
    },
  )
}

export default routes
