import { z } from 'zod'
import { defineTool } from '../chat/tools.ts'

export default defineTool({
  description:
    "Searches the user's documents and returns the best passages. Call it before you answer a question that they may answer. After each statement that is based on a passage, cite it as [n], where n is the passage's number.",
  input: z.object({
    query: z.string().min(1).max(1000).describe('What to search for, as a full question or keywords'),
  }),
  isOffered: ({ RETRIEVAL }) => RETRIEVAL === 'tool',
  mcp: true,
  handler: async ({ owner, organization, scope, signal, searchPassages, cite }, { query }) => {
    const options = { limit: 6, scope, organization, signal }
    const { passages: found, degraded } = await searchPassages(owner, query, options)
    const documentIds = found.map(({ documentId }) => documentId)
    const passages = cite(found).map((passage, index) => ({ ...passage, documentId: documentIds[index] ?? '' }))
    return { passages, ...(degraded && { degraded }) }
  },
})
