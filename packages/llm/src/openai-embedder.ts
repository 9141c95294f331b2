import { readText } from './http-call.ts'
import type { HttpClient } from './http-client.ts'
import { isObject, parseJson } from './json.ts'
import type { Embedder } from './llm.ts'
import { LlmError } from './llm.ts'

/** Below every vendor's limit (Gemini takes 100 texts, OpenAI 2,048), and a request stays a few hundred kilobytes. */
const batchSize = 96

/**
 * Embeddings over `POST /embeddings`, in batches of 96, one after the other.
 * `dimensions` is asked of the vendor, checked, and part of the name: vectors of two widths must not mix either.
 */
export function createOpenAiEmbedder(http: HttpClient, model: string, dimensions?: number): Embedder {
  const embedBatch = async (input: string[], signal: AbortSignal | undefined) => {
    const body = { model, input, encoding_format: 'float', ...(dimensions && { dimensions }) }
    const answer = await http.post('/embeddings', body, signal)
    return readVectors(parseJson(await readText(answer)), input.length)
  }

  return {
    name: dimensions ? `${model}@${dimensions}` : model,
    embed: async (texts, signal) => {
      const vectors: number[][] = []
      for (let start = 0; start < texts.length; start += batchSize) {
        vectors.push(...(await embedBatch(texts.slice(start, start + batchSize), signal)))
      }
      const width = dimensions ?? vectors[0]?.length
      if (vectors.some((vector) => vector.length !== width)) {
        throw new LlmError('model_protocol', 'the model sent a vector of another width')
      }
      return vectors
    },
  }
}

/** The vectors of one answer in the order of the texts. Gemini leaves out an index of 0, and some servers every index. */
function readVectors(body: unknown, count: number): number[][] {
  const items: unknown[] = isObject(body) && Array.isArray(body.data) ? body.data : []
  const byIndex = new Map<unknown, number[]>()
  for (const [position, item] of items.entries()) {
    if (isObject(item) && isVector(item.embedding)) byIndex.set(item.index ?? position, item.embedding)
  }
  return Array.from({ length: count }, (_, index) => {
    const vector = byIndex.get(index)
    if (!vector) throw new LlmError('model_protocol', 'the model did not send a vector for every text')
    return vector
  })
}

function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every(Number.isFinite)
}
