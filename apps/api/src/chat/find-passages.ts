import type { Scope, Source, Store } from '@repo/db'
import type { Embedder, Passage } from '@repo/llm'
import { type RetrievedPassage, retrievePassages } from '@repo/rag'

const passageCount = 6 // of at most 300 tokens each: about 2,000 tokens with titles

/** Returns the owner's best passages in a scope for a question, as the model and as clients receive them. */
export async function findPassages(
  options: { store: Store; embedder: Embedder },
  owner: string,
  question: string,
  { scope, signal }: { scope: Scope | undefined; signal: AbortSignal },
): Promise<{ passages: Passage[]; sources: Source[] }> {
  const found = await retrievePassages(options, owner, question, { limit: passageCount, scope, signal })
  return {
    passages: found.map((passage, index) => ({ n: index + 1, title: passage.heading, text: passage.text })),
    sources: found.map(toSource),
  }
}

function toSource(passage: RetrievedPassage, index: number): Source {
  const { documentId, chunkId, title, start, end, page } = passage
  return { n: index + 1, documentId, chunkId, title, start, end, ...(page !== null && { page }) }
}
