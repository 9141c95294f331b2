import type { Embedder } from '../llm.ts'
import { type EmbeddingModel, UnsupportedParameterError } from '../openai-api.ts'
import { countTokens } from './tokens.ts'

/** The offline embedder for clients of OpenAI's API. */
export function createOfflineEmbeddings(embedder: Embedder): EmbeddingModel {
  return {
    name: embedder.name,
    create: async ({ input, dimensions }, signal) => {
      const texts = [input].flat()
      const vectors = await embedder.embed(texts, signal)
      const width = vectors[0]?.length
      if (dimensions !== undefined && dimensions !== null && dimensions !== width) {
        throw new UnsupportedParameterError(
          'dimensions',
          `This model's vectors have ${width} dimensions: ask for no others.`,
        )
      }
      const tokens = texts.reduce((sum, text) => sum + countTokens(text), 0)
      return {
        object: 'list',
        data: vectors.map((embedding, index) => ({ object: 'embedding', index, embedding })),
        model: embedder.name,
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      }
    },
  }
}
