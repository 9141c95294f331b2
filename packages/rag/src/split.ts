/** A piece of a document: `content` is exactly `text.slice(start, end)`, so that a citation leads back to its place. */
export type Chunk = { headings: string[]; content: string; start: number; end: number }

type Block = { headings: string[]; start: number; end: number }

/** In UTF-16 units; about 250 tokens of English, so that six passages and a history fit the smallest models. */
const maxChunkLength = 1200
const sentences = new Intl.Segmenter(undefined, { granularity: 'sentence' })

/**
 * Splits plain text or Markdown into chunks of at most 1,200 UTF-16 units. Blocks (paragraphs, lists, tables, fenced
 * code) stay whole where they fit and never cross a heading; a longer block is cut between sentences, a longer
 * sentence between characters.
 */
export function splitText(text: string): Chunk[] {
  const chunks: Chunk[] = []
  let open: Block | undefined
  const flush = () => {
    if (open) chunks.push(toChunk(text, open))
    open = undefined
  }
  for (const block of findBlocks(text)) {
    for (const piece of cutBlock(text, block)) {
      const fits = open && open.headings === piece.headings && piece.end - open.start <= maxChunkLength
      if (open && fits) open.end = piece.end
      else {
        flush()
        open = piece
      }
    }
  }
  flush()
  return chunks
}

function toChunk(text: string, { headings, start, end }: Block): Chunk {
  return { headings, content: text.slice(start, end), start, end }
}

/** Blocks are separated by blank lines and headings; a fence lasts until its closing line, whatever is inside. */
function findBlocks(text: string): Block[] {
  const blocks: Block[] = []
  let headings: string[] = []
  let block: Block | undefined
  let fence: string | undefined
  for (const { line, start, end } of readLines(text)) {
    const marker = line.match(/^\s{0,3}(```+|~~~+)/)?.[1]
    const heading = fence ? undefined : line.match(/^(#{1,6})\s+(.+?)\s*#*$/)
    if (heading?.[1] && heading[2]) {
      headings = [...headings.slice(0, heading[1].length - 1), heading[2]]
      block = undefined
    } else if (line.trim() === '' && !fence) {
      block = undefined
    } else if (block) {
      block.end = end
    } else {
      block = { headings, start, end }
      blocks.push(block)
    }
    if (marker && !fence) fence = marker
    else if (fence && marker?.startsWith(fence)) fence = undefined
  }
  return blocks
}

function* readLines(text: string) {
  let start = 0
  while (start < text.length) {
    const newline = text.indexOf('\n', start)
    const next = newline === -1 ? text.length : newline + 1
    const line = text.slice(start, next).trimEnd()
    yield { line, start, end: start + line.length }
    start = next
  }
}

function* cutBlock(text: string, block: Block): Generator<Block> {
  if (block.end - block.start <= maxChunkLength) {
    yield { ...block }
    return
  }
  let { start } = block
  for (const { index, segment } of sentences.segment(text.slice(block.start, block.end))) {
    const sentenceEnd = block.start + index + segment.trimEnd().length
    while (sentenceEnd - start > maxChunkLength) {
      const sentenceStart = block.start + index
      const end = sentenceStart > start ? trimEnd(text, start, sentenceStart) : cutPoint(text, start)
      if (end > start) yield { headings: block.headings, start, end }
      start = sentenceStart > start ? sentenceStart : end
    }
  }
  if (block.end > start) yield { headings: block.headings, start, end: block.end }
}

function trimEnd(text: string, start: number, end: number): number {
  return start + text.slice(start, end).trimEnd().length
}

/** At a space when there is one in the second half, and never between the halves of a surrogate pair. */
function cutPoint(text: string, start: number): number {
  const end = start + maxChunkLength
  const space = text.lastIndexOf(' ', end)
  if (space > start + maxChunkLength / 2) return space
  const code = text.charCodeAt(end - 1)
  return code >= 0xd800 && code <= 0xdbff ? end - 1 : end
}
