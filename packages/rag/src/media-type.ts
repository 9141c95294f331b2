import { isUtf8 } from 'node:buffer'

export const textType = 'text/plain'
export const htmlType = 'text/html'
export const pdfType = 'application/pdf'
export const docxType = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'

const headLength = 1024 // bytes; what makes a type is at the beginning
const oldOffice = 'd0cf11e0a1b11ae1' // also around every Office document with a password
const zip = '504b0304'

/** Nothing here reads a file like this. `message` tells its owner what to do. */
export class MediaTypeError extends Error {
  code = 'unsupported_file' as const

  constructor(message: string) {
    super(message)
    this.name = 'MediaTypeError'
  }
}

/**
 * What a file is, by its first bytes and never by what its name or sender says; a name that ends in `.html` decides only
 * for text that begins with a tag. Microseconds, but for the check that a text is one: a millisecond a megabyte.
 * Throws `MediaTypeError`.
 */
export function sniffMediaType(bytes: Buffer, filename = ''): string {
  const head = bytes.subarray(0, headLength)
  if (head.includes('%PDF-')) return pdfType
  if (head.toString('hex', 0, 4) === zip) return docxType
  if (head.toString('hex', 0, 8) === oldOffice)
    throw new MediaTypeError('Word files from before 2007 and those with a password are not read: save it as .docx.')
  const encoding = findEncoding(bytes)
  if (!encoding) throw new MediaTypeError('This is no text, Markdown, HTML, PDF or Word (.docx) file.')
  const start = new TextDecoder(encoding).decode(head).replace(/^(?:\s|<!--.*?-->|<\?xml.*?\?>)+/s, '')
  const isPage = /^<(?:!doctype html|html|head|body)\b/i.test(start)
  return isPage || (/\.x?html?$/i.test(filename) && /^<\w/.test(start)) ? htmlType : textType
}

/** UTF-8; UTF-16 with its mark; else the one of Windows, in which every byte is some letter. Undefined: this is no text. */
function findEncoding(bytes: Buffer): string | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  if (bytes.includes(0)) return undefined
  if (isUtf8(bytes)) return 'utf-8'
  const head = bytes.subarray(0, headLength)
  const controls = head.filter((byte) => byte < 0x20 && !(byte >= 0x09 && byte <= 0x0d)).length
  return controls > 0 ? undefined : 'windows-1252'
}

/** The text of such a file. `declared`: what it says of itself, which counts where its bytes leave it open. */
export function decodeText(bytes: Buffer, declared?: string): string {
  const found = findEncoding(bytes) ?? 'utf-8'
  const encoding = found === 'windows-1252' ? (declared ?? found) : found
  try {
    return new TextDecoder(encoding).decode(bytes)
  } catch {
    return new TextDecoder(found).decode(bytes) // it names an encoding that nobody knows
  }
}
