import { DocumentError, type Extracted } from '@repo/rag'
import { extractTextItems, getDocumentProxy, type StructuredTextItem } from 'unpdf'

/** A gap of so many heights of a letter, from line to line, parts two paragraphs; within one it is 1.0 to 1.5. */
const paragraphGap = 1.7

/** The text of a PDF, page by page, its paragraphs parted by blank lines. */
export async function extractPdf(bytes: Buffer): Promise<Extracted> {
  const pdf = await getDocumentProxy(new Uint8Array(bytes)).catch(explain)
  const { items } = await extractTextItems(pdf)
  let text = ''
  const pages: number[] = []
  for (const page of items) {
    pages.push(text.length)
    const lines = joinItems(page).trim()
    if (lines) text += `${lines}\n\n`
  }
  if (text === '')
    throw new DocumentError('It holds pictures of pages and no text: run it through text recognition (OCR) first.')
  return { text: text.trimEnd(), pages }
}

function joinItems(items: StructuredTextItem[]): string {
  let text = ''
  let last: StructuredTextItem | undefined
  for (const item of items) {
    if (last?.hasEOL && item.str.trim()) {
      // Upwards: the next column.
      const gap = last.y - item.y
      if (gap < -item.fontSize || gap > paragraphGap * Math.max(item.fontSize, last.fontSize)) text += '\n'
    }
    text += item.str + (item.hasEOL ? '\n' : '')
    if (item.str.trim() || !last) last = item
    else last = { ...last, hasEOL: last.hasEOL || item.hasEOL }
  }
  return text
}

function explain(error: unknown): never {
  const name = error instanceof Error ? error.name : ''
  if (name === 'PasswordException')
    throw new DocumentError('It is protected by a password: save it without one and post that.')
  throw error
}
