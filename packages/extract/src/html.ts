import { decodeText, type Extracted } from '@repo/rag'
import { convert, type DomNode, type FormatCallback, type HtmlToTextOptions } from 'html-to-text'

/** What every page of a site repeats. */
const boilerplate = [
  ...[
    'nav',
    'footer',
    'aside',
    'form',
    'button',
    'dialog',
    'template',
    'noscript',
    'svg',
    'img',
    'iframe',
    'style',
    'script',
  ],
  ...['navigation', 'banner', 'contentinfo', 'complementary', 'search', 'dialog'].map((role) => `[role="${role}"]`),
  ...[
    '[hidden]',
    '[aria-hidden="true"]',
    '.breadcrumb',
    '.breadcrumbs',
    '.navbar',
    '.sidebar',
    '.cookie-banner',
    '.headerlink',
  ],
]

/**
 * The text of a page as Markdown: headings, lists, tables, code. Of a page with one `main` or `article` only that; and
 * nowhere what its elements, roles or usual class names call navigation, advertising or the like.
 */
export async function extractHtml(bytes: Buffer): Promise<Extracted> {
  const declared = bytes.toString('latin1', 0, 1024).match(/<meta[^>]+charset=["']?([\w-]+)/i)?.[1]
  const html = decodeText(bytes, declared)
  const base = ['main', 'article'].find((name) => html.match(new RegExp(`<${name}[\\s>]`, 'gi'))?.length === 1)
  return { text: convertHtml(html, base ?? 'body') }
}

/** `base` is the element to convert; the whole where there is none. */
export function convertHtml(html: string, base: string): string {
  const options: HtmlToTextOptions = {
    wordwrap: false,
    baseElements: { selectors: [base], returnDomByDefault: true },
    formatters: { heading, code, table },
    selectors: [
      ...boilerplate.map((selector) => ({ selector, format: 'skip' })),
      ...(base === 'body' ? [{ selector: 'header', format: 'skip' }] : []), // in an article it has the title
      ...[1, 2, 3, 4, 5, 6].map((level) => ({ selector: `h${level}`, format: 'heading', options: { level } })),
      { selector: 'pre', format: 'code' },
      { selector: 'table', format: 'table' },
      { selector: 'ul', options: { itemPrefix: '- ' } },
      { selector: 'a', options: { ignoreHref: true } },
    ],
    limits: { maxInputLength: 50_000_000, maxDepth: 200, ellipsis: '' }, // beyond any page that a person wrote
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

/** A line a row: whatever spans or is nested is text of its cell. */
const table: FormatCallback = (element, walk, builder) => {
  builder.openTable()
  for (const row of findRows(element)) {
    builder.openTableRow()
    for (const cell of row.children.filter(({ name }) => name === 'td' || name === 'th')) {
      builder.openTableCell({})
      walk(cell.children, builder)
      builder.closeTableCell()
    }
    builder.closeTableRow()
  }
  const toLine = (row: { text: string }[]) =>
    `| ${row.map(({ text }) => text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`
  builder.closeTable({
    tableToString: (rows) => rows.map(toLine).join('\n'),
    leadingLineBreaks: 2,
    trailingLineBreaks: 2,
  })
}

function findRows({ children = [] }: DomNode): DomNode[] {
  return children.flatMap((child) => (child.name === 'tr' ? [child] : child.name === 'table' ? [] : findRows(child)))
}
