import { type Block, maxHeadingLength, readLines, updateFence } from './blocks.ts'

/**
 * Yields the tables of a block, each without its header row. Their `headings` end with the column names. As in GFM, a
 * table is a header row and a delimiter row such as `|---|---|` with as many cells. It ends before the first line
 * without a pipe. Fenced code contains no tables.
 */
export function* findTables(
  text: string,
  { headings, start: offset, end: blockEnd }: Block,
): Generator<Block, undefined> {
  let table: Block | undefined
  let fence: string | undefined
  let above = { line: '', end: 0 }
  for (const { line, end } of readLines(text.slice(offset, blockEnd))) {
    if (table && !line.includes('|')) {
      yield table
      table = undefined
    }
    const columns = table ? '' : readColumns(above.line, line)
    if (columns) table = { headings: [...headings, columns], start: offset + above.end, end: offset + end }
    else if (table) table.end = offset + end
    const isCode = (fence ?? updateFence(fence, line)) !== undefined
    fence = updateFence(fence, line)
    above = { line: isCode ? '' : line, end }
  }
  if (table) yield table
  return undefined
}

/** Returns the names in a header row that is followed by a delimiter row, otherwise an empty string. */
function readColumns(header: string, delimiter: string): string {
  if (!delimiter.includes('|') || !/^[|:\-\s]+$/.test(delimiter)) return ''
  const [marks, names] = [readCells(delimiter), readCells(header)]
  if (marks.length !== names.length || !marks.every((mark) => /^:?-+:?$/.test(mark))) return ''
  if (!names.some(Boolean)) return ''
  return names
    .join(' | ')
    .slice(0, maxHeadingLength)
    .replace(/[\uD800-\uDBFF]$/, '')
    .trimEnd()
}

/** Splits a row at its pipes, except at `\|`. The outer pipes are optional. */
function readCells(row: string): string[] {
  const cells = row.split(/(?<!\\)\|/).map((cell) => cell.trim())
  if (cells.length > 1 && cells[0] === '') cells.shift()
  if (cells.length > 1 && cells.at(-1) === '') cells.pop()
  return cells
}
