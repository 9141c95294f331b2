type Span = { start: number; end: number }
type Heading = Span & { level: number; title: string }

/** A part of a document that is best kept whole. `headings`, outermost first, is one array for all blocks below them. */
export type Block = Span & { headings: string[] }

/** In UTF-16 units. A longer line is a text: a title goes into every chunk below it. */
const maxHeadingLength = 200

/**
 * The paragraphs, lists, tables and fenced code of Markdown or plain text, in order, without the headings. A heading
 * with nothing below it is a block of its own, so that it can be found.
 */
export function* findBlocks(text: string): Generator<Block> {
  let outline: Heading[] = []
  let headings: string[] = []
  let bare: Heading | undefined
  for (const part of readParts(text)) {
    if ('level' in part) {
      if (bare && bare.level >= part.level) yield { start: bare.start, end: bare.end, headings }
      outline = [...outline.filter(({ level }) => level < part.level), part]
      headings = outline.map(({ title }) => title)
      bare = part
    } else {
      yield { ...part, headings }
      bare = undefined
    }
  }
  if (bare) yield { start: bare.start, end: bare.end, headings }
}

/** A blank line or a heading ends a text; a fence lasts until its closing line, whatever is inside. */
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
    fence = followFence(fence, line)
  }
  if (open) yield open
}

/** Lines without their trailing white space. */
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

/** `## Title`, or `## Title ##`. The first one may follow a byte order mark. */
function readHeading(line: string) {
  if (line.length > maxHeadingLength) return undefined
  const [, marker = '', rest = ''] = line.match(/^\uFEFF? {0,3}(#{1,6})\s+(.+)$/) ?? []
  const title = rest.replace(/(?<=^|\s)#+$/, '').trimEnd()
  return title ? { level: marker.length, title } : undefined
}

/** `===` or `---` below one line of text; below a list, a quote or a table these are something else. */
function readUnderlined(text: string, above: Span | undefined, line: string) {
  const [, marker] = line.match(/^ {0,3}([=-])\1{2,}$/) ?? []
  if (!marker || !above || above.end - above.start > maxHeadingLength) return undefined
  const title = text.slice(above.start, above.end).trim()
  const isTitle = /^(?![-*+]\s|[>|]).*[\p{L}\p{N}].*$/u.test(title)
  return isTitle ? { level: marker === '=' ? 1 : 2, title } : undefined
}

/** The fence that is open after `line`. Its closing line repeats the marker, perhaps longer, and holds nothing else. */
function followFence(fence: string | undefined, line: string): string | undefined {
  const marker = line.match(/^ {0,3}(`{3,}(?=[^`]*$)|~{3,})/)?.[1]
  if (!fence) return marker
  return marker?.startsWith(fence) && marker === line.trim() ? undefined : fence
}
