import { type EmbeddingList, estimateTokens, readInputUsage, takeTurn } from '@repo/llm'

const itemsPerPiece = 16 // of 3,072 dimensions each: about 4 ms to write

/** Returns the usage that the model server reported, or else an estimate. */
export function measureEmbeddings({ usage }: EmbeddingList, input: string | string[]) {
  const reported = readInputUsage(JSON.stringify({ usage }))
  return {
    usage: reported ?? { inputTokens: estimateTokens([input].flat()), outputTokens: 0 },
    isEstimated: !reported,
  }
}

/**
 * Yields an embedding list as JSON, in pieces, because writing 2,048 vectors at once would block the event loop. With
 * `base64`, each vector is written as OpenAI does: little-endian 32-bit floats.
 */
export async function* writeEmbeddings(
  { data, ...list }: EmbeddingList,
  format: 'float' | 'base64',
): AsyncGenerator<string> {
  yield `${JSON.stringify(list).slice(0, -1)}${Object.keys(list).length > 0 ? ',' : ''}"data":[`
  for (let start = 0; start < data.length; start += itemsPerPiece) {
    await takeTurn()
    const items = data.slice(start, start + itemsPerPiece)
    const encoded = format === 'float' ? items : items.map((item) => ({ ...item, embedding: encode(item.embedding) }))
    yield `${start > 0 ? ',' : ''}${JSON.stringify(encoded).slice(1, -1)}`
  }
  yield ']}'
}

function encode(vector: unknown): unknown {
  if (!Array.isArray(vector)) return vector
  const bytes = Buffer.alloc(vector.length * Float32Array.BYTES_PER_ELEMENT)
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(Number(value), index * 4)
  return bytes.toString('base64')
}
