import { toStorableText } from '@repo/db'
import { retrievePassages } from '@repo/rag'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { problems } from '../plugins/errors.ts'

const SearchQuery = z.object({
  q: z
    .string()
    .max(4000)
    .regex(/\S/, 'should not be empty')
    .transform(toStorableText)
    .meta({ examples: ['transaction pooling'] }),
  k: z.coerce.number().int().min(1).max(50).default(10).meta({ description: 'How many passages' }),
})

const SearchResponse = z.object({
  items: z.array(
    z.object({
      documentId: z.string(),
      chunkId: z.string(),
      title: z.string(),
      text: z.string(),
      score: z.number(),
    }),
  ),
})

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '',
    {
      config: { isCostly: true },
      schema: {
        summary: 'Find the passages nearest to a question; no model answers it',
        tags: ['documents'],
        querystring: SearchQuery,
        response: { 200: SearchResponse, ...problems },
      },
    },
    async ({ owner, query: { q, k } }) => {
      const items = await retrievePassages({ store: app.store, embedder: app.llm.embedder }, owner, q, { limit: k })
      return { items }
    },
  )
}

export default routes
