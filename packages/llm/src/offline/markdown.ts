/** What a line or a group of lines is. `marker` is a list item's own (`-`, `2.`); `header` a table's first row. */
export type Block =
  | { kind: 'heading'; level: number; text: string }
  | { kind: 'prose'; text: string }
  | { kind: 'item'; marker: string; text: string }
  | { kind: 'row'; header: string; text: string }
  | { kind: 'code'; text: string }

type Paragraph = { marker: string; lines: string[] }
type Reader = { blocks: Block[]; open: Paragraph; header: string; fence: string; code: string[] }

const fencePattern = /^\s{0,3}(```|~~~)/
const headingPattern = /^\s{0,3}(#{1,6})\s+(.{1,300}?)[\s#]*$/
const itemPattern = /^\s*([-*+•·]|\d{1,3}[.)])\s+(\S.*)$/
const rowPattern = /^\s*\|(.+)$/
const rule = /^\s*(?:[-*_]\s*){3,}$|^\s*=+\s*$/
const plainTitleLevel = 7

/** The blocks of a Markdown or plain text, in order. Hard-wrapped lines are joined; quote marks and rules are dropped. */
export function readBlocks(text: string): Block[] {
  const reader: Reader = { blocks: [], open: { marker: '', lines: [] }, header: '', fence: '', code: [] }
  for (const line of text.split(/\r\n|[\n\r\u2028\u2029]/)) readLine(reader, line)
  if (reader.code.length > 0) closeFence(reader)
  closeParagraph(reader, false)
  return reader.blocks
}

function readLine(reader: Reader, raw: string): void {
  const fence = fencePattern.exec(raw)?.[1]
  if (reader.fence !== '') {
    if (fence === reader.fence) closeFence(reader)
    else reader.code.push(raw)
    return
  }
  const line = raw.replace(/^\s{0,3}(?:>\s?)+/, '')
  const row = rowPattern.exec(line)?.[1]
  if (row === undefined) reader.header = ''
  const heading = headingPattern.exec(line)
  const item = itemPattern.exec(line)
  if (fence !== undefined) {
    closeParagraph(reader, true)
    reader.fence = fence
  } else if (line.trim() === '') closeParagraph(reader, true)
  else if (rule.test(line)) closeUnderlined(reader)
  else if (heading) {
    closeParagraph(reader, true)
    reader.blocks.push({ kind: 'heading', level: heading[1]?.length ?? 1, text: cleanInline(heading[2] ?? '') })
  } else if (row !== undefined) {
    closeParagraph(reader, true)
    readRow(reader, row)
  } else if (item) {
    closeParagraph(reader, false)
    reader.open = { marker: item[1] ?? '-', lines: [item[2] ?? ''] }
  } else {
    if (startsAnew(reader.open.lines.at(-1), line)) closeParagraph(reader, true)
    reader.open.lines.push(line.trim())
  }
}

/** Plain text has lines that stand for themselves: a short line before a capital, or `Label: value`. */
function startsAnew(previous: string | undefined, line: string): boolean {
  if (previous === undefined) return false
  if (/^\s*\p{Lu}[\p{L} ]{1,30}:\s/u.test(line)) return true
  return previous.length < 45 && !/[,;]$/.test(previous) && /^\s*[\p{Lu}\p{Lo}\p{N}]/u.test(line)
}

function closeFence(reader: Reader): void {
  const text = reader.code
    .join('\n')
    .trimEnd()
    .replace(/^\s*\n/, '')
    .replace(/[^\P{Cc}\n\t]/gu, ' ')
    .toWellFormed()
  if (text !== '') reader.blocks.push({ kind: 'code', text })
  reader.fence = ''
  reader.code = []
}

function closeUnderlined(reader: Reader): void {
  const [title, ...more] = reader.open.lines
  if (title !== undefined && more.length === 0 && reader.open.marker === '') {
    reader.blocks.push({ kind: 'heading', level: 2, text: cleanInline(title) })
    reader.open = { marker: '', lines: [] }
  } else closeParagraph(reader, true)
}

function readRow(reader: Reader, row: string): void {
  if (/^[\s|:-]+$/.test(row)) {
    const header = reader.blocks.at(-1)
    if (header?.kind !== 'row') return
    reader.blocks.pop()
    reader.header = header.text
    return
  }
  const cells = row.split('|').map(cleanInline)
  reader.blocks.push({ kind: 'row', header: reader.header, text: cells.filter((cell) => cell !== '').join(' | ') })
}

function closeParagraph(reader: Reader, mayBeTitle: boolean): void {
  const { marker, lines } = reader.open
  if (lines.length === 0) return
  reader.open = { marker: '', lines: [] }
  const text = cleanInline(joinLines(lines))
  if (text === '') return
  const isList = marker !== '' && !/\d/.test(marker)
  if (mayBeTitle && !isList && lines.length === 1 && isTitle(text)) {
    reader.blocks.push({ kind: 'heading', level: plainTitleLevel, text })
  } else if (marker !== '') reader.blocks.push({ kind: 'item', marker, text })
  else reader.blocks.push({ kind: 'prose', text })
}

function isTitle(text: string): boolean {
  return text.length <= 60 && !/[\d:.!?;,。！？；，؟،…`|]/.test(text) && text.split(' ').length <= 8
}

/** Between two letters of a script without spaces a line break is no space. */
function joinLines(lines: string[]): string {
  return lines.join('\n').replace(/(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])/g, '')
}

/**
 * Markdown's marks away, its words kept: links and emphasis as text, images and tags dropped, white space collapsed.
 * A footnote mark `[12]` goes too, or a reader would take it for a citation. Code spans stay as they are.
 */
function cleanInline(text: string): string {
  const cleaned = text
    .toWellFormed()
    .split(/(`[^`]+`)/)
    .map((piece, index) => (index % 2 === 1 ? piece : cleanProse(piece)))
  const unbold = cleaned.join('').replace(/\*\*(?=\S)([^*]{1,500})(?<=\S)\*\*/g, '$1')
  return unbold.replace(/[\s\p{Cc}]+/gu, ' ').trim()
}

function cleanProse(text: string): string {
  if (!/[\\[\]<*_]/.test(text)) return text
  return text
    .replace(/!\[[^\]\n]{0,200}\]\([^)\s]{0,500}\)/g, ' ')
    .replace(/\[([^[\]\n]{1,300})\](?:\([^)\s]{0,500}(?:\s"[^"]{0,200}")?\)|\[[^[\]\n]{0,100}\])/g, (match, label) =>
      /^\d+$/.test(label) ? match : label,
    )
    .replace(/<(https?:[^<>\s]{1,500})>/g, '$1')
    .replace(/<\/?[a-zA-Z][^<>]{0,300}>/g, ' ')
    .replace(/\[\^?[1-9]\d{0,3}\]/g, '')
    .replace(/(?<![\p{L}\p{N}*\\])\*(?=\S)([^*\n]{1,300})(?<=\S)\*(?![\p{L}\p{N}*])/gu, '$1')
    .replace(/(?<![\p{L}\p{N}_\\])_(?=[^\s_])([^_\n]{1,300})(?<=\S)_(?![\p{L}\p{N}_])/gu, '$1')
    .replace(/\\([\\*_`[\]#|<>])/g, '$1')
}
