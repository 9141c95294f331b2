import type { AnswerPart, StoredPart } from './schema.ts'

/** A message as it is stored: its plain text, and its parts unless it consists of the text alone. */
export type StoredMessage = { content: string; parts: StoredPart[] | null }

/** What was added to a running answer at a position. */
export type Piece = { start: number; parts: AnswerPart[] }

/** Returns the length of parts: UTF-16 units of texts, and 1 for each other part. Positions in an answer count these. */
export function measureParts(parts: readonly AnswerPart[]): number {
  return parts.reduce((length, part) => length + ('text' in part ? part.text.length : 1), 0)
}

/** Returns the end of a list of parts, from a position in it. */
export function dropParts(parts: readonly AnswerPart[], position: number): AnswerPart[] {
  let left = position
  return parts.flatMap((part) => {
    const length = measureParts([part])
    const skipped = Math.min(left, length)
    left -= skipped
    if (skipped === 0) return part
    return skipped < length && 'text' in part ? { ...part, text: part.text.slice(skipped) } : []
  })
}

/** Returns parts in which no two texts of the same type follow each other. */
function joinParts(parts: readonly AnswerPart[]): AnswerPart[] {
  const joined: AnswerPart[] = []
  for (const part of parts) {
    const last = joined.at(-1)
    const isMore = last !== undefined && 'text' in last && 'text' in part && last.type === part.type
    if (isMore) joined[joined.length - 1] = { ...last, text: last.text + part.text }
    else joined.push(part)
  }
  return joined
}

/** Returns the plain text of parts. */
export function joinText(parts: readonly AnswerPart[]): string {
  return parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
}

/** Returns parts as they are stored. */
export function toStored(parts: readonly AnswerPart[]): StoredMessage {
  const joined = joinParts(parts)
  const isText = joined.every(({ type }) => type === 'text')
  const stored = joined.map((part): StoredPart => {
    return part.type === 'text' ? { type: 'text', length: part.text.length } : part
  })
  return { content: joinText(joined), parts: isText ? null : stored }
}

/**
 * Returns the parts of a stored message after a position. `known.text` is how much of its plain text lies before that
 * position, in UTF-16 units. `content` begins after it.
 */
export function fromStored({ content, parts }: StoredMessage, known = { position: 0, text: 0 }): AnswerPart[] {
  if (!parts) return content === '' ? [] : [{ type: 'text', text: content }]
  const text = ' '.repeat(known.text) + content // what is known is dropped below
  let end = 0
  const whole = parts.flatMap((part): AnswerPart | [] => {
    if (part.type === 'file') return [] // only questions have files
    if (part.type !== 'text') return part
    end += part.length
    return { type: 'text', text: text.slice(end - part.length, end) }
  })
  return dropParts(whole, known.position)
}

/** Returns a message with the pieces that were added to it, in order of their positions. Overlaps are taken once. */
export function addPieces(message: StoredMessage, pieces: readonly Piece[]): StoredMessage {
  const parts = fromStored(message)
  for (const { start, parts: added } of pieces) parts.push(...dropParts(added, measureParts(parts) - start))
  return toStored(parts)
}
