import { isUtf8 } from 'node:buffer'

export const textType = 'text/plain'
export const htmlType = 'text/html'
export const pdfType = 'application/pdf'
export const docxType = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'

const headLength = 1024 // bytes; the signatures are at the start of a file
const oldOffice = 'd0cf11e0a1b11ae1' // Office files before 2007, and all that are encrypted
const zip = '504b0304'

/** The file type is not supported. `message` tells the user what to do. */
export class MediaTypeError extends Error {
  code = 'unsupported_file' as const

  constructor(message: string) {
    super(message)
    this.name = 'MediaTypeError'
  }
}

/**
 * Returns the media type of a file, based on its bytes and not on its name or declared type. A name that ends in
 * `.html` matters only for text that begins with a tag. Throws `MediaTypeError` if the type is not supported.
 */
export function sniffMediaType(bytes: Buffer, filename = ''): string {
  const head = bytes.subarray(0, headLength)
  if (head.includes('%PDF-')) return pdfType
  if (head.toString('hex', 0, 4) === zip) return docxType
  if (head.toString('hex', 0, 8) === oldOffice)
    throw new MediaTypeError(
      'Encrypted files and Word files older than 2007 are not supported. Save it as .docx without a password.',
    )
  const encoding = findEncoding(bytes)
  if (!encoding) throw new MediaTypeError('Unsupported file type. Use text, Markdown, HTML, PDF or Word (.docx).')
  const start = new TextDecoder(encoding).decode(head).replace(/^(?:\s|<!--.*?-->|<\?xml.*?\?>)+/s, '')
  const isPage = /^<(?:!doctype html|html|head|body)\b/i.test(start)
  return isPage || (/\.x?html?$/i.test(filename) && /^<\w/.test(start)) ? htmlType : textType
}

/**
 * Returns UTF-16 if there is a byte order mark, UTF-8 if the bytes are valid, otherwise windows-1252, in which every
 * byte is a character. Returns undefined if the bytes are not text.
 */
function findEncoding(bytes: Buffer): string | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  if (bytes.includes(0)) return undefined
  if (isUtf8(bytes)) return 'utf-8'
  const head = bytes.subarray(0, headLength)
  const controls = head.filter((byte) => byte < 0x20 && !(byte >= 0x09 && byte <= 0x0d)).length
  return controls > 0 ? undefined : 'windows-1252'
}

/** Decodes a text file. `declared`, the encoding named in the file itself, is used if the bytes do not determine it. */
export function decodeText(bytes: Buffer, declared?: string): string {
  const found = findEncoding(bytes) ?? 'utf-8'
  const encoding = found === 'windows-1252' ? (declared ?? found) : found
  try {
    return new TextDecoder(encoding).decode(bytes)
  } catch {
    return new TextDecoder(found).decode(bytes) // the declared encoding is unknown
  }
}
