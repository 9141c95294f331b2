import type { Answer, TextPart } from './answer.ts'

/** Limits of one answer, reasoning included. `maxTokens` is counted in deltas, usually one per token. */
export type AnswerLimits = { maxTokens: number; timeoutMs: number }

/** Bytes of UTF-8, reasoning and tools included: about 250,000 tokens. Longer answers come from a model that repeats itself. */
export const maxAnswerBytes = 1_000_000

/** Appends a delta, or the part of it that fits. Returns false when the answer has reached a limit. */
export function appendWithin(
  { maxTokens }: AnswerLimits,
  answer: Answer,
  type: TextPart['type'],
  delta: string,
): boolean {
  if (answer.deltas >= maxTokens) return false
  const piece = takeBytes(delta, maxAnswerBytes - answer.bytes)
  if (piece) answer.append(type, piece)
  return piece === delta
}

const encoder = new TextEncoder()

/** Returns the longest prefix of a text that fits into this many bytes of UTF-8. */
export function takeBytes(text: string, bytes: number): string {
  if (3 * text.length <= bytes) return text // a UTF-16 unit takes at most three bytes
  return text.slice(0, encoder.encodeInto(text, new Uint8Array(Math.max(0, bytes))).read)
}
