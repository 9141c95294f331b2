import { type Block, findBlocks } from './blocks.ts'

/** A piece of a document: `content` is exactly `text.slice(start, end)`, so that a citation leads back to its place. */
export type Chunk = { headings: string[]; content: string; start: number; end: number }

/** In UTF-16 units; about 250 tokens of English, so that six passages and a history fit the smallest models. */
const maxChunkLength = 1200
const sentences = new Intl.Segmenter(undefined, { granularity: 'sentence' })

/**
 * Splits plain text or Markdown into chunks of at most 1,200 UTF-16 units. Blocks (paragraphs, lists, tables, fenced
 * code) stay whole where they fit and never cross a heading; a longer block is cut between sentences, a longer
 * sentence between words. What is in no chunk is white space, or in the `headings` of one.
 */
export function* splitText(text: string): Generator<Chunk> {
  let open: Block | undefined
  for (const block of findBlocks(text)) {
    for (const piece of cutBlock(text, block)) {
      if (open?.headings === piece.headings && piece.end - open.start <= maxChunkLength) {
        open.end = piece.end
      } else {
        if (open) yield toChunk(text, open)
        open = piece
      }
    }
  }
  if (open) yield toChunk(text, open)
}

function toChunk(text: string, { headings, start, end }: Block): Chunk {
  return { headings, content: text.slice(start, end), start, end }
}

function* cutBlock(text: string, { headings, start, end }: Block): Generator<Block> {
  let next = start
  while (end - next > maxChunkLength) {
    const cut = findCut(text.slice(next, next + maxChunkLength))
    const piece = text.slice(next, next + cut).trimEnd()
    if (piece) yield { headings, start: next, end: next + piece.length }
    next += cut
  }
  yield { headings, start: next, end }
}

/** In its second half, before the last sentence, which goes on after it; else after a space; else between characters. */
function findCut(window: string): number {
  const half = window.length / 2
  const sentence = sentences.segment(window).containing(window.length - 1)?.index ?? 0
  if (sentence > half) return sentence
  const space = window.slice(half).search(/\s\S*$/)
  if (space >= 0) return half + space + 1
  return /[\uD800-\uDBFF]$/.test(window) ? window.length - 1 : window.length
}
