import type { Source, Store } from '@repo/db'
import type { Embedder, Passage } from '@repo/llm'
import { type RetrievedPassage, retrievePassages } from '@repo/rag'
import { z } from 'zod'

/** A passage as a client is told of it: what `[n]` in an answer means. */
export const SourceResponse = z.object({
  n: z.int().meta({ description: 'The n of [n] in the text' }),
  documentId: z.string(),
  chunkId: z.string(),
  title: z.string(),
  start: z.int(),
  end: z.int(),
  page: z.int().optional(),
})

const passageCount = 6 // of at most 1,200 characters: about 2,000 tokens

/** The owner's best passages for a question, as a model reads them and as a client is told of them. */
export async function findPassages(
  options: { store: Store; embedder: Embedder },
  owner: string,
  question: string,
  signal: AbortSignal,
): Promise<{ passages: Passage[]; sources: Source[] }> {
  const found = await retrievePassages(options, owner, question, { limit: passageCount, signal })
  return {
    passages: found.map((passage, index) => ({ n: index + 1, title: passage.heading, text: passage.text })),
    sources: found.map(toSource),
  }
}

function toSource(passage: RetrievedPassage, index: number): Source {
  const { documentId, chunkId, title, start, end, page } = passage
  return { n: index + 1, documentId, chunkId, title, start, end, ...(page !== null && { page }) }
}
