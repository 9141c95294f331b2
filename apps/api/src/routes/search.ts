import { toStorableText } from '@repo/db'
import { type RetrievedPassage, retrievePassages } from '@repo/rag'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { MetadataText } from '../metadata.ts'

const SearchQuery = z.object({
  q: z
    .string()
    .max(4000)
    .regex(/\S/, 'should not be empty')
    .transform(toStorableText)
    .meta({ examples: ['transaction pooling'] }),
  k: z.coerce.number().int().min(1).max(50).default(10).meta({ description: 'How many passages' }),
  filter: MetadataText.optional().meta({
    description: 'Only documents whose metadata holds all of this: JSON',
    examples: ['{"team":"ops"}'],
  }),
  explain: z.enum(['0', '1']).default('0').meta({ description: '1: also where each leg has a passage' }),
})

const Rank = z.number().int().nullable().meta({ description: 'From 1; null where this leg does not have it' })

const Legs = z.object({
  vector: z.object({ rank: Rank, distance: z.number().nullable().meta({ description: 'Cosine distance' }) }),
  text: z.object({ rank: Rank, score: z.number().nullable().meta({ description: 'BM25' }) }),
})

const passage = {
  documentId: '3f0d2c8e-6f0b-4c39-9a53-0d3f8f2f5c11',
  chunkId: '9b1c6a52-58a1-4b0e-8f4e-2d1f6c1b7a90',
  title: 'Handbook',
  text: 'Monday to Friday, 9 to 5.',
  score: 0.87,
}

const Passage = z
  .object({
    documentId: z.string(),
    chunkId: z.string(),
    title: z.string(),
    text: z.string(),
    score: z.number().meta({ description: 'Of this question alone: higher is nearer' }),
    legs: Legs.optional(),
  })
  .meta({ id: 'Passage', description: 'A piece of a document' })

const SearchResponse = z
  .object({ items: z.array(Passage) })
  .meta({ description: 'The nearest first', examples: [{ items: [passage] }] })

function toLegs({ vectorRank, vectorDistance, textRank, textScore }: RetrievedPassage) {
  return { vector: { rank: vectorRank, distance: vectorDistance }, text: { rank: textRank, score: textScore } }
}

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
    async ({ owner, query: { q, k, filter, explain } }) => {
      const options = { store: app.store, embedder: app.llm.embedder }
      const found = await retrievePassages(options, owner, q, { limit: k, filter })
      return { items: explain === '1' ? found.map((passage) => ({ ...passage, legs: toLegs(passage) })) : found }
    },
  )
}

export default routes
