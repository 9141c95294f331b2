import multipart from '@fastify/multipart'
import type { DocumentSummary, Store } from '@repo/db'
import type { FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { listDocuments } from '../documents/list-documents.ts'
import { type Posted, receiveText, receiveUpload } from '../documents/upload.ts'
import { PageQuery } from '../paging.ts'
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
  SharingRequest,
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
    async ({ owner, organization, params: { id }, query: { start, end = maxTextLength } }) => {
      const part = { start, end: Math.min(end, start + maxPartLength) }
      const document = isUuid(id) && (await app.store.documents.readText(owner, id, part, organization))
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
        scopes: ['documents'],
        rateLimit: 'deferred',
        form: DocumentForm,
        problems: { 403: sharingProblems, 413: ['document_too_large', 'too_many_parts'], 415: ['unsupported_file'] },
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
      const add = ({ shared, ...posted }: Posted) => {
        const owner = shared ? getSharedOwner(request) : request.owner
        const document = { ...posted, uploadedBy: request.owner, embeddingModel: app.llm.embedder.name }
        return app.store.documents.add(owner, document)
      }
      const { hasExtractor, maxUploadBytes: maxBytes } = app
      const upload = { uploads: app.store.uploads, maxBytes, hasExtractor }
      const { version: _, ...document } = request.isMultipart()
        ? await receiveUpload(request, FormFields, upload, add)
        : await receiveText(request, assertTextLength(request.body), upload, add)
      return reply.code(202).send(toResponse(request, document))
    },
  )
}

function assertTextLength(body: z.output<typeof DocumentRequest>) {
  if (body.text.length > maxTextLength) throw tooLarge()
  return body
}

const serveChanges: FastifyPluginAsyncZod = async (app) => {
  app.patch(
    '/:id',
    {
      config: {
        scopes: ['documents'],
        problems: { 403: sharingProblems, 404: ['document_not_found'], 409: ['document_exists'] },
      },
      schema: {
        operationId: 'shareDocument',
        summary: 'Share a document with your organization, or make a shared one your own',
        description: 'It is not found until a worker has read it again.',
        params: Params,
        body: SharingRequest,
        response: { 200: DocumentResponse },
      },
    },
    async (request) => {
      const document = await findDocument(app.store, request, request.params.id)
      const owner = request.body.shared ? getSharedOwner(request) : request.owner
      if (document.ownerId === owner) return toResponse(request, document)
      const from = document.ownerId === request.owner ? request.owner : getSharedOwner(request)
      const moved = await app.store.documents.move(from, document.id, owner)
      if (!moved) throw notFound()
      return toResponse(request, moved)
    },
  )

  app.delete(
    '/:id',
    {
      config: { scopes: ['documents'], problems: { 403: sharingProblems, 404: ['document_not_found'] } },
      schema: { operationId: 'deleteDocument', summary: 'Delete a document', params: Params, response: { 204: Gone } },
    },
    async (request, reply) => {
      const { id, ownerId } = await findDocument(app.store, request, request.params.id)
      const owner = ownerId === request.owner ? ownerId : getSharedOwner(request)
      if (!(await app.store.documents.remove(owner, id))) throw notFound()
      return reply.code(204).send()
    },
  )
}

const routes: FastifyPluginAsyncZod = async (app) => {
  await app.register(servePosts)
  await app.register(serveText)
  await app.register(serveChanges)

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
    async (request) => {
      const { items, next } = await listDocuments(app.store, request, request.query)
      return { items: items.map((row) => toResponse(request, row)), next }
    },
  )

  app.get(
    '/:id',
    {
      config: { scopes: ['read', 'documents'], problems: { 404: ['document_not_found'] } },
      schema: {
        operationId: 'readDocument',
        summary: "Read a document's state",
        params: Params,
        response: { 200: DocumentResponse },
      },
    },
    async (request) => toResponse(request, await findDocument(app.store, request, request.params.id)),
  )
}

/** Returns a document that the caller may read. Throws `ProblemError` 404. */
async function findDocument(store: Store, { owner, organization }: FastifyRequest, id: string) {
  const document = isUuid(id) && (await store.documents.find(owner, id, organization))
  if (!document) throw notFound()
  return document
}

const sharingProblems = ['no_organization', 'not_librarian']

/** Returns the owner of shared documents, if the caller may change them. Throws `ProblemError` 403. */
function getSharedOwner({ organization, isLibrarian }: FastifyRequest): string {
  if (!organization)
    throw new ProblemError(403, 'no_organization', 'You belong to no organization. Its operator adds you to one.')
  if (!isLibrarian)
    throw new ProblemError(403, 'not_librarian', 'Only librarians may change what is shared. Ask the operator.')
  return organization
}

const notFound = () => new ProblemError(404, 'document_not_found', 'Document not found. See GET /documents for yours.')
const tooLarge = () =>
  new ProblemError(413, 'document_too_large', `The document exceeds ${maxTextLength} characters. Split it.`)
const toResponse = ({ owner }: FastifyRequest, { createdAt, ownerId, ...row }: DocumentSummary) => {
  return { ...row, createdAt: createdAt.toISOString(), shared: ownerId !== owner }
}
const isUuid = (id: string) => z.uuid().safeParse(id).success

export default routes
