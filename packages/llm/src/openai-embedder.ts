import { readText } from './http-call.ts'
import type { HttpClient } from './http-client.ts'
import { isObject, parseJson } from './json.ts'
import type { Embedder } from './llm.ts'
import { LlmError } from './llm.ts'

/** Gemini takes 100 texts, OpenAI 2,048, and a request stays a few hundred kilobytes. */
const maxBatchSize = 96

/** So vendors answer a request that holds too much, and some any other that they do not like. */
const refusals: unknown[] = [400, 413, 422]

/**
 * Embeddings over `POST /embeddings`, in batches of 96, one after the other. A batch that is refused is halved: Mistral
 * takes 16,384 tokens a request, TEI 32 texts, Alibaba 10, and none says so beforehand.
 * `dimensions` is asked of the vendor, checked, and part of the name: vectors of two widths must not mix either.
 */
export function createOpenAiEmbedder(http: HttpClient, model: string, dimensions?: number): Embedder {
  let knownBatchSize = maxBatchSize

  const embedBatch = async (input: string[], signal: AbortSignal | undefined) => {
    const body = { model, input, encoding_format: 'float', ...(dimensions && { dimensions }) }
    const answer = await http.post('/embeddings', body, signal)
    return readVectors(parseJson(await readText(answer)), input.length)
  }

  return {
    name: dimensions ? `${model}@${dimensions}` : model,
    embed: async (texts, signal) => {
      const vectors: number[][] = []
      let batchSize = knownBatchSize
      while (vectors.length < texts.length) {
        const batch = texts.slice(vectors.length, vectors.length + batchSize)
        try {
          vectors.push(...(await embedBatch(batch, signal)))
        } catch (error) {
          const isRefusal = error instanceof LlmError && refusals.includes(error.status)
          if (!isRefusal || batch.length === 1) throw error
          batchSize = Math.ceil(batch.length / 2)
        }
      }
      knownBatchSize = Math.min(knownBatchSize, batchSize)
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
