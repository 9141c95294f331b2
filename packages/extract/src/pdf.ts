import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DocumentError, type Extracted } from '@repo/rag/posted-file'
import { unzipSync } from 'fflate'
import { extractTextItems, getDocumentProxy, getResolvedPDFJS, type StructuredTextItem } from 'unpdf'
import { readFields } from './pdf-fields.ts'

type Pdf = Awaited<ReturnType<typeof getDocumentProxy>>

/** A gap between lines of this many letter heights separates two paragraphs. Within a paragraph it is 1.0 to 1.5. */
const paragraphGap = 1.7
const minFramedPages = 3
const maxListedPages = 10
const maxUnmapped = 0.2 // of the characters of a page

/** Adobe's character maps from `pdfjs-dist` 6.5.438, which fonts for Chinese, Japanese and Korean may need. */
const characterMaps = join(import.meta.dirname, '../cmaps.zip')

/** Loads the character maps that a file references for PDF.js. */
class CharacterMaps {
  async fetch({ filename }: { filename: string }): Promise<Uint8Array> {
    const { [filename]: bytes } = unzipSync(await readFile(characterMaps), { filter: ({ name }) => name === filename })
    if (!bytes) throw new Error('There is no such character map.')
    return bytes
  }
}

/**
 * Returns the text of a PDF page by page, with blank lines between paragraphs. A page ends with the values of its form
 * fields. Pages without readable text are listed in a warning. A file that has no other pages is rejected.
 */
export async function extractPdf(bytes: Buffer): Promise<Extracted> {
  const pdf = await getDocumentProxy(new Uint8Array(bytes), { BinaryDataFactory: CharacterMaps }).catch(explain)
  const { items } = await extractTextItems(pdf)
  const read = items.map((page) => joinItems(page).trim())
  const unreadable = listPages(read, isUnmapped)
  const texts = read.map((page) => (isUnmapped(page) ? '' : page))
  const isScan = isStamped(texts) && (await hasImages(pdf))
  const scans = listPages(texts, (page) => page === '' || isScan)
  const entries = await Promise.all(items.map(async (_, index) => readFields(await pdf.getPage(index + 1))))
  if (entries.every(({ length }) => length === 0) && (await isXfaNotice(pdf, texts)))
    throw new DocumentError('Only Adobe Reader can show this form (XFA). Print it to a new PDF and upload that.')
  if (scans.length === texts.length && !entries.some(({ length }) => length > 0)) throw explainEmpty(unreadable)
  let text = ''
  const pages: number[] = []
  for (const [index, page] of joinWords(leaveOutFrames(texts)).entries()) {
    pages.push(text.length)
    const parts = [page, ...selectNew(entries[index] ?? [], page)].filter(Boolean)
    if (parts.length > 0) text += `${parts.join('\n')}\n\n`
  }
  const empty = scans.filter((number) => entries[number - 1]?.length === 0 && !unreadable.includes(number))
  return { text: text.trimEnd(), pages, warnings: [...warnOfScans(empty), ...warnOfGlyphs(unreadable)] }
}

/** Some files contain the values of their fields as text too. */
const selectNew = (entries: string[], page: string) => entries.filter((entry) => !page.includes(entry))

const listPages = (pages: string[], isListed: (page: string) => boolean) =>
  pages.flatMap((page, index) => (isListed(page) ? [index + 1] : []))

/**
 * Returns whether most of a text is not characters: control and private use characters or `(cid:9)`, which stand for the
 * glyphs of a font without a Unicode table. Such a font often maps a few of its glyphs. Symbols such as bullets may be
 * private use characters in any text.
 */
function isUnmapped(page: string): boolean {
  const dense = page.replaceAll(/\s/g, '')
  const unmapped = dense.match(/\(cid:\d+\)|[\p{Co}\p{Cc}\uFFFD]/gu)?.join('').length ?? 0
  return unmapped > maxUnmapped * dense.length
}

/** Returns whether pages contain only the short line that a scanner adds to each of them. */
function isStamped(pages: string[]): boolean {
  const [first = '', ...others] = pages.map((page) => page.replaceAll(/\d+/g, '#'))
  return pages.length >= minFramedPages && first.length <= 100 && others.every((other) => other === first)
}

/** Returns whether the only page is the notice that other viewers show in place of a form in Adobe's XFA format. */
async function isXfaNotice(pdf: Pdf, [notice = '', ...others]: string[]): Promise<boolean> {
  if (others.length > 0 || !/\bAdobe\b/.test(notice)) return false
  const { info } = await pdf.getMetadata()
  return 'IsXFAPresent' in info && info.IsXFAPresent === true
}

async function hasImages(pdf: Pdf): Promise<boolean> {
  const { OPS } = await getResolvedPDFJS()
  const { fnArray } = await (await pdf.getPage(1)).getOperatorList()
  const images = [OPS.paintImageXObject, OPS.paintInlineImageXObject, OPS.paintImageMaskXObject]
  return images.some((operator) => fnArray.includes(operator))
}

function explainEmpty(unreadable: number[]): DocumentError {
  return new DocumentError(
    unreadable.length > 0
      ? 'The text of this PDF cannot be decoded, because its fonts do not name their characters. Run OCR and upload it again.'
      : 'This PDF contains only scanned images or drawings. Run OCR and upload it again.',
  )
}

const warnOfScans = (numbers: number[]) =>
  numbers.length > 0
    ? [`No text was found on ${namePages(numbers)}. If it is scanned, run OCR and upload it again.`]
    : []

const warnOfGlyphs = (numbers: number[]) =>
  numbers.length > 0 ? [`The characters of ${namePages(numbers)} cannot be decoded. Run OCR and upload it again.`] : []

function namePages(numbers: number[]): string {
  const listed = numbers.slice(0, maxListedPages).join(', ')
  const others = numbers.length - maxListedPages
  return `${numbers.length === 1 ? 'page' : 'pages'} ${listed}${others > 0 ? ` and ${others} more` : ''}`
}

function joinItems(items: StructuredTextItem[]): string {
  let text = ''
  let last: StructuredTextItem | undefined
  for (const item of items) {
    if (last?.hasEOL && item.str.trim()) {
      // The text moves up: the next column begins.
      const gap = last.y - item.y
      if (gap < -item.fontSize || gap > paragraphGap * Math.max(item.fontSize, last.fontSize)) text += '\n'
    }
    text += item.str + (item.hasEOL ? '\n' : '')
    if (item.str.trim() || !last) last = item
    else last = { ...last, hasEOL: last.hasEOL || item.hasEOL }
  }
  return text
}

const pageNumber = /^(?:page|seite|p\.)?[\s–-]*\d+(?:\s*(?:of|von|\/)\s*\d+)?[\s–-]*$/i

/** Removes header and footer lines that most pages share. Lines that differ only in the page number count as equal. */
function leaveOutFrames(pages: string[]): string[] {
  const [top, bottom] = [/^.+(?:\n+|$)/, /(?:\n+|^).+$/]
  return [top, bottom].reduce(leaveOutLine, pages)
}

function leaveOutLine(pages: string[], place: RegExp): string[] {
  const read = (page: string) => (page.match(place)?.[0] ?? '').trim().replace(pageNumber, '#')
  const groups = Map.groupBy(pages, read)
  return pages.map((page) => {
    const { length: count } = groups.get(read(page)) ?? []
    const isFrame = count >= Math.max(minFramedPages, pages.length / 2)
    return (isFrame && page.replace(place, '')) || page // a page without other text keeps it
  })
}

/**
 * Joins `infor-` at a line end with `mation` on the next line, unless the hyphenated word also occurs within a line.
 */
function joinWords(pages: string[]): string[] {
  const compounds = new Set(pages.flatMap((page) => page.match(/(?<!\p{L})\p{L}{1,40}-\p{L}{1,40}/gu) ?? []))
  const broken = /(?<!\p{L})(\p{L}{1,40})[-\u2010]\n(?!(?:and|or|und|oder|bzw|et|ou|y|o)(?!\p{L}))(\p{Ll}{1,40})/gu
  return pages.map((page) =>
    page.replace(broken, (_, start: string, end: string) =>
      compounds.has(`${start}-${end}`) ? `${start}-${end}` : `${start}${end}`,
    ),
  )
}

function explain(error: unknown): never {
  const name = error instanceof Error ? error.name : ''
  if (name === 'PasswordException')
    throw new DocumentError('This file is protected by a password. Save it without one and upload it again.')
  throw error
}
