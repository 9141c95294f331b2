import { DocumentError, type Extracted } from '@repo/rag/posted-file'
import mammoth from 'mammoth'
import { simplifyDocx } from './docx-xml.ts'
import { convertHtml } from './html.ts'

/**
 * Returns the text of a Word document as Markdown: headings, lists, tables, footnotes and equations. Tracked changes are
 * read as accepted. Comments, images and diagrams are left out.
 */
export async function extractDocx(bytes: Buffer): Promise<Extracted> {
  const { bytes: buffer, images, diagrams } = simplifyDocx(bytes)
  const withoutImages = { convertImage: mammoth.images.imgElement(async () => ({ src: '' })) }
  const { value, messages } = await mammoth.convertToHtml({ buffer }, withoutImages).catch(explain)
  const html = value
    .replaceAll(/<ol>(?=<li id="(?:foot|end)note-)/g, '<ol class="notes">')
    .replaceAll(/<a href="#[^"]*">↑<\/a>/g, '')
  const text = convertHtml(html, [
    { selector: 'ol', format: 'unorderedList', options: { itemPrefix: ' ' } }, // its items begin with their numbers
    { selector: 'ol.notes', format: 'orderedList' },
    { selector: 'img', format: 'image' }, // the description
  ])
  const lines = text.replaceAll(/^ (?=\S)/gm, '') // the empty prefixes
  return {
    text: lines,
    warnings: [...warnOf(images, 'image'), ...warnOf(diagrams, 'diagram'), ...warnOfElements(messages)],
  }
}

const warnOf = (count: number, name: string) =>
  count > 0 ? [`${count} ${name}${count > 1 ? 's were' : ' was'} not read.`] : []

/** Mammoth also reports missing styles, and elements that only describe a layout. */
function warnOfElements(messages: { message: string }[]): string[] {
  const ignored = /^An unrecognised element was ignored: (?!v:|office-word:|\w+:\w+Pr(?:Ex)?$)([\w:-]{1,40})$/
  const names = messages.map(({ message }) => message.match(ignored)?.[1])
  return [...new Set(names)].flatMap((name) => (name ? [`Elements of type ${name} were not read.`] : []))
}

function explain(error: unknown): never {
  if (error instanceof Error && error.message.includes('main document part'))
    throw new DocumentError('This is a ZIP archive, not a Word document (.docx). Upload the files in it.')
  throw error
}
