import type { Answer, Segment } from './answer.ts'

/** What one answer may cost, reasoning included. */
export type AnswerLimits = { maxTokens: number; timeoutMs: number }

/** Of UTF-8, reasoning included: about 250,000 tokens. More is a model that repeats itself. */
export const maxAnswerBytes = 1_000_000

/** Adds a delta, or what fits of it. Returns whether all of it did: if not, the answer has reached a limit. */
export function appendWithin(
  { maxTokens }: AnswerLimits,
  answer: Answer,
  type: Segment['type'],
  delta: string,
): boolean {
  if (answer.deltas >= maxTokens) return false
  const piece = takeBytes(delta, maxAnswerBytes - answer.bytes.text - answer.bytes.reasoning)
  if (piece) answer.append(type, piece)
  return piece === delta
}

const encoder = new TextEncoder()

/** The longest beginning of a text that takes at most so many bytes of UTF-8. */
export function takeBytes(text: string, bytes: number): string {
  if (3 * text.length <= bytes) return text // no UTF-16 unit takes more than three
  return text.slice(0, encoder.encodeInto(text, new Uint8Array(Math.max(0, bytes))).read)
}
