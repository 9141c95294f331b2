import { buffer } from 'node:stream/consumers'
import { csvType, docxType, htmlType, notebookType, pdfType, textType } from '@repo/rag/media-type'
import { DocumentError, type Extracted } from '@repo/rag/posted-file'

// The program that `extract.ts` runs. It reads a file from its input and writes its text, or the reason for a failure,
// as JSON. Each process loads only what its file needs, so it starts
// with a third of the CPU.

const [mediaType = ''] = process.argv.slice(2)

async function extract(bytes: Buffer): Promise<Extracted> {
  if (mediaType === pdfType) return (await import('./pdf.ts')).extractPdf(bytes)
  if (mediaType === docxType) return (await import('./docx.ts')).extractDocx(bytes)
  if (mediaType === htmlType) return (await import('./html.ts')).extractHtml(bytes)
  if (mediaType === csvType) return (await import('./csv.ts')).extractCsv(bytes)
  if (mediaType === notebookType) return (await import('./notebook.ts')).extractNotebook(bytes)
  if (mediaType === textType) return { text: await (await import('./decode.ts')).decodeText(bytes) }
  throw new DocumentError(`Files of type ${mediaType} are not supported.`)
}

function explain(error: unknown): string {
  if (error instanceof DocumentError) return error.message
  // JavaScript's errors when there is no memory for a buffer or a string.
  if (error instanceof RangeError && /alloc|invalid (string|array) length/i.test(error.message))
    return 'This file is too large when unpacked. Split it or save it again.'
  return 'This file is damaged. Open it, save it again and upload the new file.'
}

const answer = await extract(await buffer(process.stdin)).catch((error) => ({ error: explain(error) }))
process.stdout.write(JSON.stringify(answer))
