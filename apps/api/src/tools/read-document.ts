import { z } from 'zod'
import { isInScope } from '../chat/scope.ts'
import { defineTool, ToolError } from '../chat/tools.ts'

const pageLength = 8000 // characters: about 2,000 tokens

const notFound = () => new ToolError('There is no document with this id. Use the `documentId` of a passage.')

export default defineTool({
  description:
    'Reads a document of the user from a position. Call it when a passage that you have found is not enough. If there is more, the result says at which position, as `next`.',
  input: z.object({
    documentId: z.uuid().describe('The `documentId` of a passage'),
    start: z.int().min(0).default(0).describe('Where to start, in characters'),
  }),
  isOffered: ({ RETRIEVAL }) => RETRIEVAL === 'tool',
  mcp: true,
  handler: async ({ owner, organization, scope, store }, { documentId, start }) => {
    const document = await store.documents.find(owner, documentId, organization)
    if (!document || !isInScope(document, scope)) throw notFound()
    const part = { start, end: start + pageLength }
    const found = await store.documents.readText(owner, documentId, part, organization)
    if (!found) throw notFound()
    const next = start + found.text.length
    return { title: found.title, text: found.text, ...(next < found.length && { next }) }
  },
})
