import { type Embedder, type EmbeddingModel, UnsupportedParameterError } from '@repo/llm'
import { countTokens } from './tokens.ts'

/** The offline embedder behind OpenAI's API. Throws an `UnsupportedParameterError` for other `dimensions` than its own. */
export function createOfflineEmbeddings(embedder: Embedder): EmbeddingModel {
  return {
    name: embedder.name,
    create: async ({ input, dimensions }, signal) => {
      const texts = [input].flat()
      const vectors = await embedder.embed(texts, signal)
      const width = vectors[0]?.length
      if (dimensions !== undefined && dimensions !== null && dimensions !== width)
        throw new UnsupportedParameterError(
          'dimensions',
          `This model returns ${width} dimensions. Omit \`dimensions\`.`,
        )
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
