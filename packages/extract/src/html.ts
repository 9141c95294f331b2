import type { Extracted } from '@repo/rag/posted-file'
import { convert, type DomNode, type FormatCallback, type HtmlToTextOptions } from 'html-to-text'
import { decodeText } from './decode.ts'
import { selectMain } from './html-page.ts'

/** Returns the text of a page as Markdown: headings, lists, tables and code. See `selectMain` for what is left out. */
export async function extractHtml(bytes: Buffer): Promise<Extracted> {
  const declared = bytes.toString('latin1', 0, 1024).match(/<meta[^>]+charset=["']?([\w-]+)/i)?.[1]
  const { html, warnings } = selectMain(await decodeText(bytes, declared))
  return { text: convertHtml(html), warnings }
}

/** Returns HTML as Markdown. `selectors` override how elements are written. */
export function convertHtml(html: string, selectors: HtmlToTextOptions['selectors'] = []): string {
  const options: HtmlToTextOptions = {
    wordwrap: false,
    formatters: { heading, code, table },
    selectors: [
      { selector: 'img', format: 'skip' },
      ...['details', 'summary', 'label', 'legend'].map((selector) => ({ selector, format: 'block' })),
      ...[1, 2, 3, 4, 5, 6].map((level) => ({ selector: `h${level}`, format: 'heading', options: { level } })),
      { selector: 'pre', format: 'code' },
      { selector: 'table', format: 'table' },
      { selector: 'ul', options: { itemPrefix: '- ' } },
      { selector: 'a', options: { ignoreHref: true } },
      ...selectors,
    ],
    limits: { maxInputLength: 50_000_000, maxDepth: 200, ellipsis: '' }, // more than any page written by hand
  }
  return convert(html, options).trim()
}

const heading: FormatCallback = (element, walk, builder, { level }) => {
  builder.openBlock({ leadingLineBreaks: 2 })
  builder.addLiteral(`${'#'.repeat(level)} `)
  walk(element.children, builder)
  builder.closeBlock({ trailingLineBreaks: 2 })
}

const code: FormatCallback = (element, walk, builder) => {
  builder.openBlock({ isPre: true, leadingLineBreaks: 2 })
  builder.addLiteral('```\n')
  walk(element.children, builder)
  builder.addLiteral('\n```')
  builder.closeBlock({ trailingLineBreaks: 2 })
}

/**
 * Returns one line per row, and a delimiter row below a header row. Spanning and nested cells become the text of their
 * cell.
 */
const table: FormatCallback = (element, walk, builder) => {
  const rows = findRows(element)
  builder.openTable()
  for (const row of rows) {
    builder.openTableRow()
    for (const cell of findCells(row)) {
      builder.openTableCell({})
      walk(cell.children, builder)
      builder.closeTableCell()
    }
    builder.closeTableRow()
  }
  const toLine = (row: { text: string }[]) =>
    `| ${row.map(({ text }) => text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`
  builder.closeTable({
    tableToString: (lines) =>
      lines
        .map(toLine)
        .toSpliced(1, 0, ...writeDelimiter(rows[0]))
        .join('\n'),
    leadingLineBreaks: 2,
    trailingLineBreaks: 2,
  })
}

function findRows({ children = [] }: DomNode): DomNode[] {
  return children.flatMap((child) => (child.name === 'tr' ? [child] : child.name === 'table' ? [] : findRows(child)))
}

function findCells({ children = [] }: DomNode): DomNode[] {
  return children.filter(({ name }) => name === 'td' || name === 'th')
}

/** Returns the delimiter row if the first row is a header row. A `th` at its start alone is the name of the row. */
function writeDelimiter(first?: DomNode): string[] {
  const cells = first ? findCells(first) : []
  const last = cells.at(-1)
  const isHeader = last?.name === 'th' || last?.parent?.parent?.name === 'thead'
  return isHeader ? [`|${'---|'.repeat(cells.length)}`] : []
}
