import { type Embedder, takeTurn } from '@repo/llm'
import { countTokens } from './tokens.ts'
import { isFunctionWord, readWords, stem } from './words.ts'

const dimensions = 384
const weight = 0.15 // it compares spelling, not meaning, so keyword search counts more; chosen with `npm run eval`
const gramWeight = 0.2
const maxTextLength = 4000 // embedding models read about as much, and more would block the event loop
const maxBlockMs = 4 // how long the event loop waits for a batch

/**
 * An embedder without a model. Texts with the same words, or similar parts of words, get similar vectors; it knows nothing
 * of meaning. Aborting `signal` rejects with its reason.
 */
export function createOfflineEmbedder(): Embedder {
  return {
    name: `offline-${dimensions}`,
    weight,
    embed: async (texts, signal, onUsage) => {
      const vectors: number[][] = []
      let startedAt = performance.now()
      for (const text of texts) {
        signal?.throwIfAborted()
        vectors.push(embedText(text))
        if (performance.now() - startedAt < maxBlockMs) continue
        await takeTurn()
        startedAt = performance.now()
      }
      onUsage?.(measure(texts))
      return vectors
    },
    embedQuery: async (text, signal, onUsage) => {
      signal?.throwIfAborted()
      onUsage?.(measure([text]))
      return JSON.stringify(embedText(text))
    },
  }
}

function measure(texts: string[]) {
  return { inputTokens: texts.reduce((sum, text) => sum + countTokens(text), 0), outputTokens: 0 }
}

/** Returns a vector of length 1: word stems and 3- and 4-grams, hashed into 384 numbers. */
export function embedText(text: string): number[] {
  const vector = Array.from({ length: dimensions }, () => 0)
  const words = readWords(text.slice(0, maxTextLength)).filter((word) => !isFunctionWord(word))
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  for (const [word, count] of counts) {
    const frequency = 1 + Math.log(count)
    addFeature(vector, `=${stem(word)}`, frequency)
    addGrams(vector, `^${word}$`, gramWeight * frequency)
  }
  return normalise(vector)
}

function addGrams(vector: number[], word: string, amount: number): void {
  for (const size of [3, 4])
    for (let start = 0; start + size <= word.length; start++)
      addFeature(vector, word.slice(start, start + size), amount)
}

/** Feature hashing: half of the features are subtracted, so that collisions cancel out on average. */
function addFeature(vector: number[], feature: string, amount: number): void {
  const code = hash(feature)
  const axis = code % dimensions
  vector[axis] = (vector[axis] ?? 0) + (code & 0x80000000 ? -amount : amount)
}

/** FNV-1a with the finaliser of MurmurHash, which makes the sign bit independent of the axis. */
function hash(text: string): number {
  let code = 2166136261
  for (let i = 0; i < text.length; i++) code = Math.imul(code ^ text.charCodeAt(i), 16777619)
  code = Math.imul(code ^ (code >>> 15), 2246822519)
  return (code ^ (code >>> 13)) >>> 0
}

/** A text without words gets the first axis: a vector of zeros has no direction. */
function normalise(vector: number[]): number[] {
  const length = Math.hypot(...vector)
  return length > 0 ? vector.map((value) => value / length) : vector.map((_, axis) => (axis === 0 ? 1 : 0))
}
