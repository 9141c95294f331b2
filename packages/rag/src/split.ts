import { type Block, findBlocks } from './blocks.ts'
import { type CountTokens, createRuler, type Ruler } from './tokens.ts'

/** A piece of a document: `content` is exactly `text.slice(start, end)`, so that a citation leads back to its place. */
export type Chunk = {
  headings: string[]
  content: string
  start: number
  end: number
  /** From 1, where the text has pages. */
  page?: number
}

/** In quarters of a token: 300 tokens, so that six passages and a history fit the smallest models. */
const maxChunkSize = 1200
const longestChunk = 2400 // UTF-16 units; English has 1,400 in 300 tokens, and blanks or a row of dashes any number
const sentences = new Intl.Segmenter(undefined, { granularity: 'sentence' })

/**
 * Splits plain text or Markdown into chunks of at most 300 tokens, by `count` or as `createRuler` estimates them: 1,200
 * letters of English. Blocks (paragraphs, lists, tables, fenced code) stay whole where they fit and cross neither a heading nor a
 * page (`pages`: where each begins); a longer block is cut between sentences or lines, a longer sentence between words.
 * What is in no chunk is white space, or in the `headings` of one.
 */
export function* splitText(text: string, pages: number[] = [], count?: CountTokens): Generator<Chunk> {
  const measure = createRuler(text, count)
  const findPage = (place: number) => pages.findLastIndex((start) => start <= place) + 1
  const toChunk = ({ headings, start, end }: Block): Chunk => {
    const chunk = { headings, content: text.slice(start, end), start, end }
    return pages.length > 0 ? { ...chunk, page: findPage(start) } : chunk
  }
  let open: Block | undefined
  for (const block of findBlocks(text)) {
    for (const piece of cutBlock(text, block, measure)) {
      const fits = open && isShort(open.start, piece.end, measure) && findPage(open.start) === findPage(piece.start)
      if (open?.headings === piece.headings && fits) {
        open.end = piece.end
      } else {
        if (open) yield toChunk(open)
        open = piece
      }
    }
  }
  if (open) yield toChunk(open)
}

function* cutBlock(text: string, { headings, start, end }: Block, measure: Ruler): Generator<Block> {
  let next = start
  while (!isShort(next, end, measure)) {
    const cut = findCut(text.slice(next, findEnd(next, end, measure)))
    const piece = text.slice(next, next + cut).trimEnd()
    if (piece) yield { headings, start: next, end: next + piece.length }
    next += cut
  }
  yield { headings, start: next, end }
}

/** Asks no further than a chunk may reach: a block may have a million letters. */
function isShort(start: number, end: number, measure: Ruler): boolean {
  return end - start <= longestChunk && measure(start, end) <= maxChunkSize
}

/** The last place before `end` to which a chunk from `start` may go. */
function findEnd(start: number, end: number, measure: Ruler): number {
  let [low, high] = [start + 1, Math.min(end, start + longestChunk)]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (measure(start, middle) <= maxChunkSize) low = middle
    else high = middle - 1
  }
  return low
}

/** In its second half, before the last sentence, which goes on after it; else after a space; else between characters. */
function findCut(window: string): number {
  const half = Math.floor(window.length / 2)
  const sentence = sentences.segment(window).containing(window.length - 1)?.index ?? 0
  if (sentence > half) return sentence
  const space = window.slice(half).search(/\s\S*$/)
  if (space >= 0) return half + space + 1
  return /[\uD800-\uDBFF]$/.test(window) ? window.length - 1 : window.length
}
