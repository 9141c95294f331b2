import { DocumentError, type Extracted } from '@repo/rag/posted-file'
import papaparse from 'papaparse'
import { decodeText } from './decode.ts'

/**
 * Returns the rows of a CSV or TSV file as a Markdown table, so that each chunk repeats the column names. Lines of one
 * cell above the table remain text. Throws `DocumentError` for a quotation mark that is not closed.
 */
export async function extractCsv(bytes: Buffer): Promise<Extracted> {
  const text = await decodeText(bytes)
  const { data, errors } = papaparse.parse<string[]>(text, {
    skipEmptyLines: 'greedy',
    delimitersToGuess: [',', ';', '\t', '|'],
  })
  const broken = errors.find(({ type }) => type === 'Quotes')
  if (broken)
    throw new DocumentError(
      `Invalid CSV: a quotation mark in row ${(broken.row ?? 0) + 1} is not closed. Save the file again.`,
    )
  const width = data.reduce((most, row) => Math.max(most, row.length), 0)
  const begin = data.findIndex((row) => row.filter((cell) => cell.trim()).length > 1)
  if (begin === -1) return { text } // a single column is a list
  const rows = data.slice(begin).map((row) => writeRow([...row, ...Array(width - row.length).fill('')]))
  if (isHeader(data[begin] ?? [])) rows.splice(1, 0, `|${'---|'.repeat(width)}`)
  return { text: [...data.slice(0, begin).map((row) => row.join(' ').trim()), '', ...rows].join('\n').trim() }
}

const writeRow = (cells: string[]) =>
  `| ${cells.map((cell) => cell.trim().replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`

/** Names of columns differ from each other and are not numbers or dates. */
function isHeader(cells: string[]): boolean {
  const names = cells.map((cell) => cell.trim()).filter(Boolean)
  return (
    new Set(names).size === names.length && !names.some((name) => /^[-+(]?[\p{Sc}]?\d[\d.,:/\-\sT]*%?\)?$/u.test(name))
  )
}
