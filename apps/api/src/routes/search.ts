import { toStorableText } from '@repo/db'
import { type RetrievedPassage, retrievePassages } from '@repo/rag'
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
  filter: z
    .string()
    .max(2000)
    .transform(readFilter)
    .optional()
    .meta({ description: 'Only documents whose metadata holds all of this: JSON', examples: ['{"team":"ops"}'] }),
  explain: z.enum(['0', '1']).default('0').meta({ description: '1: also where each leg has a passage' }),
})

const Rank = z.number().int().nullable().meta({ description: 'From 1; null where this leg does not have it' })

const Legs = z.object({
  vector: z.object({ rank: Rank, distance: z.number().nullable().meta({ description: 'Cosine distance' }) }),
  text: z.object({ rank: Rank, score: z.number().nullable().meta({ description: 'BM25' }) }),
})

const SearchResponse = z.object({
  items: z.array(
    z.object({
      documentId: z.string(),
      chunkId: z.string(),
      title: z.string(),
      text: z.string(),
      score: z.number(),
      legs: Legs.optional(),
    }),
  ),
})

const Filter = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]))

function readFilter(json: string, context: z.RefinementCtx) {
  try {
    return Filter.parse(JSON.parse(toStorableText(json)))
  } catch {
    context.addIssue('should be a JSON object of strings, numbers and booleans, such as {"team":"ops"}')
    return z.NEVER
  }
}

function toLegs({ vectorRank, vectorDistance, textRank, textScore }: RetrievedPassage) {
  return { vector: { rank: vectorRank, distance: vectorDistance }, text: { rank: textRank, score: textScore } }
}

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
    async ({ owner, query: { q, k, filter, explain } }) => {
      const options = { store: app.store, embedder: app.llm.embedder }
      const found = await retrievePassages(options, owner, q, { limit: k, filter })
      return { items: explain === '1' ? found.map((passage) => ({ ...passage, legs: toLegs(passage) })) : found }
    },
  )
}

export default routes
