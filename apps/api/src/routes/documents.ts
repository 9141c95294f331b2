import { type Cursor, type DocumentSummary, toStorableText } from '@repo/db'
import { ingestDocument } from '@repo/rag'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { decodeCursor, PageQuery, toPage } from '../paging.ts'
import { ProblemError } from '../plugins/errors.ts'

const maxPartLength = 100_000 // UTF-16 units; more is asked for part by part
const maxTextLength = 2_000_000 // UTF-16 units, a book of 700 pages; ingesting it takes seconds of this process

const Text = z.string().regex(/\S/, 'should not be empty').transform(toStorableText)

const DocumentRequest = z
  .object({
    title: Text.refine((title) => title.length <= 500, 'should have at most 500 characters'),
    text: Text.meta({ description: 'Plain text or Markdown' }),
  })
  .meta({ examples: [{ title: 'Handbook', text: '# Opening hours\n\nMonday to Friday, 9 to 5.' }] })

const document = {
  id: '3f0d2c8e-6f0b-4c39-9a53-0d3f8f2f5c11',
  title: 'Handbook',
  status: 'ready',
  error: null,
  createdAt: '2026-11-24T09:00:00.000Z',
}

const DocumentResponse = z
  .object({
    id: z.string(),
    title: z.string(),
    status: z.enum(['queued', 'processing', 'ready', 'failed']),
    error: z.string().nullable().meta({ description: 'Why it failed' }),
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

const notFound = () => new ProblemError(404, 'document_not_found', 'There is no such document.')
const tooLarge = () =>
  new ProblemError(413, 'document_too_large', `A document holds at most ${maxTextLength} characters: divide it.`)
const toResponse = (row: DocumentSummary) => ({ ...row, createdAt: row.createdAt.toISOString() })

/** Any other string is the id of no document: 404, like another owner's. */
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
      const document = isUuid(id) && (await app.store.documents.readText(owner, id))
      if (!document) throw notFound()
      const { title, text: whole } = document
      const text = whole.slice(start, Math.min(end, start + maxPartLength))
      return { id, title, text, start, end: start + text.length, length: whole.length }
    },
  )
}

const routes: FastifyPluginAsyncZod = async (app) => {
  await app.register(serveText)

  app.post(
    '',
    {
      config: { isCostly: true, problems: { 413: ['document_too_large'] } },
      bodyLimit: 8 * 1024 * 1024, // bytes; two million characters are at most six, and JSON escapes some
      schema: {
        operationId: 'addDocument',
        summary: 'Add a document; the same content twice is one document',
        body: DocumentRequest,
        response: { 202: DocumentResponse },
      },
    },
    async ({ owner, body }, reply) => {
      if (body.text.length > maxTextLength) throw tooLarge()
      const document = await ingestDocument({ store: app.store, embedder: app.llm.embedder }, owner, body)
      return reply.code(202).send(toResponse(document))
    },
  )

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
  if (cursor && !isUuid(cursor.id)) throw new ProblemError(400, 'invalid_cursor', 'This cursor is of another list.')
  return cursor
}

export default routes
