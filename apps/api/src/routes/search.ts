import { toStorableText } from '@repo/db'
import { retrievePassages } from '@repo/rag'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'

const SearchQuery = z.object({
  q: z
    .string()
    .max(4000)
    .regex(/\S/, 'should not be empty')
    .transform(toStorableText)
    .meta({ examples: ['transaction pooling'] }),
  k: z.coerce.number().int().min(1).max(50).default(10).meta({ description: 'How many passages' }),
})

const passage = {
  documentId: '3f0d2c8e-6f0b-4c39-9a53-0d3f8f2f5c11',
  chunkId: '9b1c6a52-58a1-4b0e-8f4e-2d1f6c1b7a90',
  title: 'Handbook',
  text: 'Monday to Friday, 9 to 5.',
  score: 0.031,
}

const Passage = z
  .object({
    documentId: z.string(),
    chunkId: z.string(),
    title: z.string(),
    text: z.string(),
    score: z.number().meta({ description: 'Of this question alone: higher is nearer' }),
  })
  .meta({ id: 'Passage', description: 'A piece of a document' })

const SearchResponse = z
  .object({ items: z.array(Passage) })
  .meta({ description: 'The nearest first', examples: [{ items: [passage] }] })

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '',
    {
      config: { isCostly: true },
      schema: {
        operationId: 'search',
        summary: 'Find the passages nearest to a question; no model answers it',
        querystring: SearchQuery,
        response: { 200: SearchResponse },
      },
    },
    async ({ owner, query: { q, k } }) => {
      const items = await retrievePassages({ store: app.store, embedder: app.llm.embedder }, owner, q, k)
      return { items }
    },
  )
}

export default routes
