import {
  type ListResourcesResult,
  type ReadResourceResult,
  ResourceNotFoundError,
  type ResourceTemplateType,
} from '@modelcontextprotocol/server'
import type { Store } from '@repo/db'
import { z } from 'zod'
import { maxOutputLength } from '../chat/run-handler.ts'
import { listDocuments, type Reader } from '../documents/list-documents.ts'

const pageSize = 100 // clients show a list to choose from, and few request a second page
const partLength = maxOutputLength // as of a tool
const mimeType = 'text/plain'

/** How clients read a document from a position. */
export const documentTemplate: ResourceTemplateType = {
  name: 'document',
  uriTemplate: 'document:{id}{?start}',
  description: `A part of a document, at most ${partLength} characters from \`start\``,
  mimeType,
}

/** Returns a page of the documents that a reader may see, newest first. Throws `ProblemError` 400 if the cursor is invalid. */
export async function listResources(
  store: Store,
  reader: Reader,
  cursor: string | undefined,
): Promise<ListResourcesResult> {
  const { items, next } = await listDocuments(store, reader, { limit: pageSize, after: cursor })
  const resources = items.map(({ id, title, status }) => {
    const description = status === 'ready' ? undefined : `Not ready to be read: ${status}`
    return { uri: toUri(id), name: title, mimeType, ...(description && { description }) }
  })
  return { resources, ...(next && { nextCursor: next }) }
}

/**
 * Returns a part of a document, and the URI of the next part if there is one. Throws `ResourceNotFoundError` for anything
 * but a document that the reader may see.
 */
export async function readResource(
  store: Store,
  { owner, organization }: Reader,
  uri: string,
): Promise<ReadResourceResult> {
  const [, id, digits = '0'] = /^document:([^?]+)(?:\?start=(\d{1,7}))?$/.exec(uri) ?? []
  const start = Number(digits)
  const part = { start, end: start + partLength }
  const isId = z.uuid().safeParse(id).success
  const document = id && isId && (await store.documents.readText(owner, id, part, organization))
  if (!document) throw new ResourceNotFoundError(uri)
  const { text, length } = document
  const next = start + text.length
  const contents = [{ uri, mimeType, text }]
  if (next < length) {
    const rest = toUri(id, next)
    contents.push({ uri: rest, mimeType, text: `[Characters ${next} to ${length} are not included. Read ${rest}]` })
  }
  return { contents }
}

const toUri = (id: string, start?: number) => `document:${id}${start === undefined ? '' : `?start=${start}`}`
