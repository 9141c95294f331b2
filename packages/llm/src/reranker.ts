import { readText } from './http/http-call.ts'
import type { HttpClient } from './http/http-client.ts'
import { isObject, parseJson } from './json.ts'
import { LlmError, type RankedText, type Reranker } from './llm.ts'
import { readInputUsage } from './usage.ts'

/** A GPU or a vendor ranks 30 passages in 50 to 300 ms, and the user waits for it before the first word. */
export const rerankTimeoutMs = 1000

/**
 * Creates a reranker that uses `POST /rerank`, in the format of Cohere and Jina, which vLLM and llama.cpp accept, too:
 * https://docs.cohere.com/reference/rerank
 */
export function createReranker(http: HttpClient, model: string): Reranker {
  return {
    name: model,
    rerank: async (query, documents, limit, signal, onUsage) => {
      const count = Math.min(limit, documents.length)
      const body = { model, query, documents, top_n: count }
      const response = await readText(await http.post('/rerank', body, signal))
      const usage = onUsage && readInputUsage(response)
      if (usage) onUsage(usage)
      const ranked = readResults(parseJson(response), documents.length)
      if (ranked.length < count) throw createFormatError()
      return ranked.toSorted((a, b) => b.score - a.score || a.index - b.index).slice(0, count)
    },
  }
}

/** Returns the results of a response. Throws `LlmError` (`model_protocol`) unless each is a different one of the texts. */
function readResults(body: unknown, textCount: number): RankedText[] {
  const results: unknown[] = isObject(body) && Array.isArray(body.results) ? body.results : []
  const ranked = results.map((result) => readResult(result, textCount))
  if (new Set(ranked.map(({ index }) => index)).size < ranked.length) throw createFormatError()
  return ranked
}

function readResult(result: unknown, textCount: number): RankedText {
  const { index, relevance_score: score }: Record<string, unknown> = isObject(result) ? result : {}
  const isIndex = typeof index === 'number' && Number.isInteger(index) && index >= 0 && index < textCount
  if (!isIndex || typeof score !== 'number' || !Number.isFinite(score)) throw createFormatError()
  return { index, score }
}

function createFormatError(): LlmError {
  return new LlmError('model_protocol', 'the reranker did not send a valid score for each text')
}
