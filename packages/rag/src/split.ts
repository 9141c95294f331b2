import { type Block, findBlocks } from './blocks.ts'
import { findTables } from './tables.ts'
import { type CountTokens, createTokenEstimator, type TokenEstimator } from './tokens.ts'

/** A piece of a document. `content` equals `text.slice(start, end)`, so that a citation can point to its position. */
export type Chunk = {
  /** The headings above the chunk, outermost first. A table's later chunks add its column names, such as `Port | Height`. */
  headings: string[]
  content: string
  start: number
  end: number
  /** Page number, starting at 1, if the text has pages. */
  page?: number
}

/** In quarters of a token: 300 tokens, so that six passages and the history fit into small models. */
const maxChunkSize = 1200
/** In UTF-16 units. 300 tokens of English have about 1,400 units; a run of blanks or dashes could be far longer. */
const longestChunk = 2400
const sentences = new Intl.Segmenter(undefined, { granularity: 'sentence' })

/**
 * Splits plain text or Markdown into chunks of at most 300 tokens, counted with `count` or estimated.
 *
 * Blocks (paragraphs, lists, tables, fenced code) stay whole if they fit. A longer block is cut between sentences or
 * lines, a longer sentence between words. A chunk never crosses a heading or a page; `pages` contains the start of each
 * page. Text that is in no chunk is white space or part of a chunk's `headings`.
 */
export function* splitText(text: string, pages: number[] = [], count?: CountTokens): Generator<Chunk> {
  const measure = createTokenEstimator(text, count)
  const findPage = (offset: number) => pages.findLastIndex((start) => start <= offset) + 1
  const toChunk = ({ headings, start, end }: Block): Chunk => {
    const chunk = { headings, content: text.slice(start, end), start, end }
    return pages.length > 0 ? { ...chunk, page: findPage(start) } : chunk
  }
  let open: Block | undefined
  for (const block of findBlocks(text)) {
    const pieces = isShort(block.start, block.end, measure) ? [block] : cutBlock(text, block, measure)
    for (const piece of pieces) {
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

/** Returns a chunk as two, cut between sentences or words if possible. */
export function cutChunk<T extends Pick<Chunk, 'content' | 'start' | 'end'>>(chunk: T): [T, T] {
  const { content, start } = chunk
  const cut = findCut(content.slice(0, Math.ceil((content.length * 2) / 3)))
  const first = content.slice(0, cut).trimEnd()
  return [
    { ...chunk, content: first, end: start + first.length },
    { ...chunk, content: content.slice(cut), start: start + cut },
  ]
}

/** Yields pieces of a block that is too long. The later pieces of a table carry the names of its columns. */
function* cutBlock(text: string, block: Block, measure: TokenEstimator): Generator<Block> {
  const tables = findTables(text, block)
  let table = tables.next().value
  let next = block.start
  const toPiece = (start: number, end: number): Block => {
    while (table && table.end <= start) table = tables.next().value
    return { headings: table && table.start <= start ? table.headings : block.headings, start, end }
  }
  while (!isShort(next, block.end, measure)) {
    const cut = findCut(text.slice(next, findEnd(next, block.end, measure)))
    const piece = text.slice(next, next + cut).trimEnd()
    if (piece) yield toPiece(next, next + piece.length)
    next += cut
  }
  yield toPiece(next, block.end)
}

/**
 * Returns whether a chunk from `start` to `end` is small enough. Checks the length first: a block may have a million
 * letters.
 */
function isShort(start: number, end: number, measure: TokenEstimator): boolean {
  return end - start <= longestChunk && measure(start, end) <= maxChunkSize
}

/** Returns the largest end, at most `end`, of a chunk that begins at `start`. */
function findEnd(start: number, end: number, measure: TokenEstimator): number {
  let [low, high] = [start + 1, Math.min(end, start + longestChunk)]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (measure(start, middle) <= maxChunkSize) low = middle
    else high = middle - 1
  }
  return low
}

/**
 * Returns where to cut the window: in its second half, before the last and incomplete sentence, otherwise after a
 * space, otherwise between characters.
 */
function findCut(window: string): number {
  const half = Math.floor(window.length / 2)
  const sentence = sentences.segment(window).containing(window.length - 1)?.index ?? 0
  if (sentence > half) return sentence
  const space = window.slice(half).search(/\s\S*$/)
  if (space >= 0) return half + space + 1
  return /[\uD800-\uDBFF]$/.test(window) ? window.length - 1 : window.length
}
