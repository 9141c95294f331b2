import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DocumentError, type Extracted } from '@repo/rag/posted-file'
import { unzipSync } from 'fflate'
import { extractTextItems, getDocumentProxy, type StructuredTextItem } from 'unpdf'

/** A gap between lines of this many letter heights separates two paragraphs. Within a paragraph it is 1.0 to 1.5. */
const paragraphGap = 1.7
const minFramedPages = 3

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

/** Returns the text of a PDF page by page, with blank lines between paragraphs. */
export async function extractPdf(bytes: Buffer): Promise<Extracted> {
  const pdf = await getDocumentProxy(new Uint8Array(bytes), { BinaryDataFactory: CharacterMaps }).catch(explain)
  const { items } = await extractTextItems(pdf)
  let text = ''
  const pages: number[] = []
  for (const page of joinWords(leaveOutFrames(items.map((page) => joinItems(page).trim())))) {
    pages.push(text.length)
    if (page) text += `${page}\n\n`
  }
  if (text === '') throw new DocumentError('This PDF contains only scanned images. Run OCR and upload it again.')
  return { text: text.trimEnd(), pages }
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
