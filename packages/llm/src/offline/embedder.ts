import { setImmediate } from 'node:timers/promises'
import type { Embedder } from '../llm.ts'
import { isFunctionWord, isUnspaced, readWords, stem } from './words.ts'

const width = 384
/** It knows spelling, not meaning: beside the words' own ranking it may fill gaps. Measured by `npm run eval`. */
const weight = 0.1
const stemWeight = 1
const gramWeight = 0.3
const pairWeight = 0.4
const functionWordWeight = 0.1
const maxTextLength = 20_000
const turnMs = 4

/**
 * Embeddings without a model: stems, character 3- and 4-grams and pairs of words, hashed with a sign into 384 numbers of
 * length 1. Texts that share words or parts of words come near each other; meaning beyond spelling it does not know.
 * Hands the event loop back every few milliseconds; aborting `signal` rejects with its reason.
 */
export function createOfflineEmbedder(): Embedder {
  return {
    name: `offline-${width}`,
    weight,
    embed: async (texts, signal) => {
      const vectors: number[][] = []
      let turnStartedAt = performance.now()
      for (const text of texts) {
        signal?.throwIfAborted()
        vectors.push(embedText(text))
        if (performance.now() - turnStartedAt < turnMs) continue
        await setImmediate()
        turnStartedAt = performance.now()
      }
      return vectors
    },
    embedQuery: async (text, signal) => {
      signal?.throwIfAborted()
      return JSON.stringify(embedText(text))
    },
  }
}

/** The vector of one text, length 1. A text without a single word gets the first axis. Synchronous: about 0.1 ms a chunk. */
export function embedText(text: string): number[] {
  const vector = Array.from({ length: width }, () => 0)
  const words = readWords(text.slice(0, maxTextLength)).flatMap(({ word, parts }) =>
    parts.length > 0 ? [word, ...parts] : word,
  )
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  const stems = new Map<string, string>()
  for (const [word, count] of counts) {
    const frequency = 1 + Math.log(count)
    if (isFunctionWord(word)) addFeature(vector, word, functionWordWeight * frequency)
    else stems.set(word, addWord(vector, word, frequency))
  }
  const content = words.flatMap((word) => stems.get(word) ?? [])
  for (let i = 1; i < content.length; i++) addFeature(vector, `${content[i - 1]} ${content[i]}`, pairWeight)
  return normalise(vector)
}

/** Adds the features of a content word and returns its stem. */
function addWord(vector: number[], word: string, weight: number): string {
  if (isUnspaced(word)) {
    addGrams(vector, word, 1, 2, weight)
    return word
  }
  const stemmed = stem(word)
  addFeature(vector, stemmed, stemWeight * weight)
  addGrams(vector, `^${word}$`, 3, 4, gramWeight * weight)
  return stemmed
}

function addGrams(vector: number[], word: string, shortest: number, longest: number, weight: number): void {
  for (let size = shortest; size <= longest; size++) {
    for (let start = 0; start + size <= word.length; start++)
      addHash(vector, hash(word, start, start + size, size), weight)
  }
}

function addFeature(vector: number[], feature: string, weight: number): void {
  addHash(vector, hash(feature, 0, feature.length, 0), weight)
}

function addHash(vector: number[], code: number, weight: number): void {
  const axis = code % width
  vector[axis] = (vector[axis] ?? 0) + (code & 0x80000000 ? -weight : weight)
}

/** FNV-1a over the code units, then murmur's finaliser, so that the sign bit is independent of the axis. */
function hash(text: string, start: number, end: number, seed: number): number {
  let code = 2166136261 ^ seed
  for (let i = start; i < end; i++) code = Math.imul(code ^ text.charCodeAt(i), 16777619)
  code = Math.imul(code ^ (code >>> 15), 2246822519)
  return (code ^ (code >>> 13)) >>> 0
}

function normalise(vector: number[]): number[] {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0))
  return length > 0 ? vector.map((value) => value / length) : vector.map((_, axis) => (axis === 0 ? 1 : 0))
}
