type Span = { start: number; end: number }
type Heading = Span & { level: number; title: string }

/**
 * A part of a document that should stay whole. `headings`, outermost first, is the same array for all blocks below
 * them.
 */
export type Block = Span & { headings: string[] }

/** In UTF-16 units. A longer line is treated as text, because a heading is added to every chunk below it. */
export const maxHeadingLength = 200

/**
 * Yields the paragraphs, lists, tables and fenced code of Markdown or plain text, without the headings. A heading with
 * nothing below it becomes a block, so that a search can find it.
 */
export function* findBlocks(text: string): Generator<Block> {
  let outline: Heading[] = []
  let headings: string[] = []
  let emptyHeading: Heading | undefined
  for (const part of readParts(text)) {
    if ('level' in part) {
      if (emptyHeading && emptyHeading.level >= part.level)
        yield { start: emptyHeading.start, end: emptyHeading.end, headings }
      outline = [...outline.filter(({ level }) => level < part.level), part]
      headings = outline.map(({ title }) => title)
      emptyHeading = part
    } else {
      yield { ...part, headings }
      emptyHeading = undefined
    }
  }
  if (emptyHeading) yield { start: emptyHeading.start, end: emptyHeading.end, headings }
}

/**
 * Yields spans of text and headings. A blank line or a heading ends a span. A code fence lasts until its closing line.
 */
function* readParts(text: string): Generator<Span | Heading> {
  let open: Span | undefined
  let fence: string | undefined
  for (const { line, start, end } of readLines(text)) {
    const underlined = fence ? undefined : readUnderlined(text, open, line)
    const heading = fence ? undefined : (underlined ?? readHeading(line))
    const isBreak = heading !== undefined || (line === '' && !fence)
    if (open && isBreak && !underlined) yield open
    if (heading) yield { start: underlined && open ? open.start : start, end, ...heading }
    if (isBreak) open = undefined
    else if (line !== '') open = { start: open?.start ?? start, end }
    fence = updateFence(fence, line)
  }
  if (open) yield open
}

/** Yields the lines without trailing white space. */
export function* readLines(text: string) {
  let start = 0
  while (start < text.length) {
    const newline = text.indexOf('\n', start)
    const next = newline === -1 ? text.length : newline + 1
    const line = text.slice(start, next).trimEnd()
    yield { line, start, end: start + line.length }
    start = next
  }
}

/** Parses `## Title` or `## Title ##`. A byte order mark may precede it. */
function readHeading(line: string) {
  if (line.length > maxHeadingLength) return undefined
  const [, marker = '', rest = ''] = line.match(/^\uFEFF? {0,3}(#{1,6})\s+(.+)$/) ?? []
  const title = rest.replace(/(?<=^|\s)#+$/, '').trimEnd()
  return title ? { level: marker.length, title } : undefined
}

/**
 * Parses a line of text underlined with `===` or `---`. Below a list, a quote or a table these do not mark a heading.
 */
function readUnderlined(text: string, above: Span | undefined, line: string) {
  const [, marker] = line.match(/^ {0,3}([=-])\1{2,}$/) ?? []
  if (!marker || !above || above.end - above.start > maxHeadingLength) return undefined
  const title = text.slice(above.start, above.end).trim()
  const isTitle = /^(?![-*+]\s|[>|]).*[\p{L}\p{N}].*$/u.test(title)
  return isTitle ? { level: marker === '=' ? 1 : 2, title } : undefined
}

/** Returns the fence that is open after `line`. A closing line contains only the marker, possibly longer. */
export function updateFence(fence: string | undefined, line: string): string | undefined {
  const marker = line.match(/^ {0,3}(`{3,}(?=[^`]*$)|~{3,})/)?.[1]
  if (!fence) return marker
  return marker?.startsWith(fence) && marker === line.trim() ? undefined : fence
}
