import { hasVisibleText, toStorableText } from '@repo/db'
import { z } from 'zod'
import { DocumentIds } from '../chat/scope.ts'
import { Degraded } from '../chat/search-passages.ts'
import { MetadataText } from '../documents/metadata.ts'

export const SearchQuery = z.object({
  q: z
    .string()
    .max(4000)
    .refine(hasVisibleText, 'must not be empty')
    .transform(toStorableText)
    .meta({ examples: ['transaction pooling'] }),
  k: z.coerce.number().int().min(1).max(50).default(10).meta({ description: 'Maximum number of passages' }),
  filter: MetadataText.optional().meta({
    description: 'JSON. Only documents whose metadata contains all of these entries',
    examples: ['{"team":"ops"}'],
  }),
  documentIds: z
    .string()
    .max(4000)
    .transform((ids) => ids.split(','))
    .pipe(DocumentIds)
    .optional()
    .meta({
      description: 'Only these documents, at most 50 ids separated by commas',
      examples: ['3f0d2c8e-6f0b-4c39-9a53-0d3f8f2f5c11'],
    }),
  explain: z.enum(['0', '1']).default('0').meta({ description: '`1` adds the rank of each passage in each retriever' }),
})

const Rank = z.number().int().nullable().meta({ description: 'Starts at 1. Null if this retriever did not find it' })

const Ranking = z.object({
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
    score: z.number().meta({ description: 'Higher is more relevant. Comparable within one query only' }),
    ranking: Ranking.optional(),
  })
  .meta({ id: 'Passage', description: 'A part of a document' })

export const SearchResponse = z
  .object({ items: z.array(Passage), degraded: Degraded.optional() })
  .meta({ description: 'The most relevant passages first', examples: [{ items: [passage] }] })
