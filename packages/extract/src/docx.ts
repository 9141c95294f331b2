import { DocumentError, type Extracted } from '@repo/rag/posted-file'
import mammoth from 'mammoth'
import { convertHtml } from './html.ts'

/** Returns the text of a Word document as Markdown: headings, lists and tables, without images. */
export async function extractDocx(bytes: Buffer): Promise<Extracted> {
  const withoutImages = { convertImage: mammoth.images.imgElement(async () => ({ src: '' })) }
  const { value } = await mammoth.convertToHtml({ buffer: bytes }, withoutImages).catch(explain)
  return { text: convertHtml(value, 'body') }
}

function explain(error: unknown): never {
  if (error instanceof Error && error.message.includes('main document part'))
    throw new DocumentError('This is a ZIP archive, not a Word document (.docx). Upload the files in it.')
  throw error
}
