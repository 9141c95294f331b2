import { createRandom } from '../random.ts'

/** Vectors of trained models also vary in far fewer directions than they have dimensions. */
const topicCount = 48
/** A power of two, so that the numbers are the same as 32-bit floats. */
const precision = 2 ** 16
const projections = new Map<number, Float64Array>()

/**
 * Returns a unit vector that depends on the words of a text only. Texts that share words are near each other, so an index
 * of these vectors works as with a trained model.
 */
export function mockEmbedding(text: string, dimensions: number): number[] {
  const topics = new Float64Array(topicCount)
  for (const word of text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? [text]) addWord(topics, word)
  const projection = readProjection(dimensions)
  const values = Array.from({ length: dimensions }, (_, axis) => {
    let value = 0
    for (let topic = 0; topic < topicCount; topic += 1)
      value += (topics[topic] ?? 0) * (projection[axis * topicCount + topic] ?? 0)
    return value
  })
  const length = Math.hypot(...values) || 1
  return values.map((value) => Math.round((value / length) * precision) / precision)
}

/** Adds the direction of a word. Short words, which are mostly grammar, count less. */
function addWord(topics: Float64Array, word: string): void {
  let seed = 2_166_136_261 // FNV-1a
  for (let at = 0; at < word.length; at += 1) seed = Math.imul(seed ^ word.charCodeAt(at), 16_777_619)
  const random = createRandom(seed)
  const weight = Math.max(1, word.length)
  for (let topic = 0; topic < topicCount; topic += 1) topics[topic] = (topics[topic] ?? 0) + weight * (random() - 0.5)
}

/** Returns the share of each topic in each dimension, which is the same in all processes. */
function readProjection(dimensions: number): Float64Array {
  const known = projections.get(dimensions)
  if (known) return known
  const random = createRandom(dimensions)
  const projection = Float64Array.from({ length: dimensions * topicCount }, () => random() - 0.5)
  projections.set(dimensions, projection)
  return projection
}
