import type { Reranker } from '@repo/llm'

type Candidate = { heading: string; text: string; score: number }

/** Passages that a reranker reads. The right one is rarely below, and each takes time. */
export const candidateCount = 30

// In UTF-16 units. Most rerankers read 512 tokens, the question and a passage together.
const maxQuestionLength = 1000 // about 250 tokens
const maxPassageLength = 2000 // chunks have about 300 tokens, 1,200 units; a heading or a table may add some

/** Returns the best `limit` passages in the reranker's order, with its scores. Throws as the reranker does. */
export async function rerankPassages<Passage extends Candidate>(
  reranker: Reranker,
  question: string,
  passages: Passage[],
  { limit, signal }: { limit: number; signal?: AbortSignal | undefined },
): Promise<Passage[]> {
  const texts = passages.map(({ heading, text }) => cut(`${heading}\n${text}`, maxPassageLength))
  const ranked = await reranker.rerank(cut(question, maxQuestionLength), texts, limit, signal)
  return ranked.flatMap(({ index, score }) =>
    passages.slice(index, index + 1).map((passage) => ({ ...passage, score })),
  )
}

function cut(text: string, length: number): string {
  return text.length > length ? text.slice(0, length).toWellFormed() : text
}
