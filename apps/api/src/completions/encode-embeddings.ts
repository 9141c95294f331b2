import type { EmbeddingList } from '@repo/llm'

/** With `base64`, each vector as OpenAI writes it: little-endian 32-bit floats. */
export function encodeEmbeddings(list: EmbeddingList, format: 'float' | 'base64'): EmbeddingList {
  if (format === 'float') return list
  return { ...list, data: list.data.map((item) => ({ ...item, embedding: encode(item.embedding) })) }
}

function encode(vector: unknown): unknown {
  if (!Array.isArray(vector)) return vector
  const bytes = Buffer.alloc(vector.length * Float32Array.BYTES_PER_ELEMENT)
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(Number(value), index * 4)
  return bytes.toString('base64')
}
