import { isUtf8 } from 'node:buffer'

export const textType = 'text/plain'
export const htmlType = 'text/html'
export const pdfType = 'application/pdf'
export const docxType = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'

const headLength = 1024 // bytes; file signatures are at the beginning
const oldOffice = 'd0cf11e0a1b11ae1' // also the container of password-protected Office files
const zip = '504b0304'

/** No reader supports this file. `message` says what to do. */
export class MediaTypeError extends Error {
  code = 'unsupported_file' as const

  constructor(message: string) {
    super(message)
    this.name = 'MediaTypeError'
  }
}

/**
 * Returns a function that takes the parts of a file in order and returns its media type each time. The first part has at
 * least 1,024 bytes, or is the whole file. The type depends on the bytes, never on the type that the client declares; a
 * name that ends in `.html` matters only for text that begins with a tag. Throws `MediaTypeError`, also at a later part
 * that turns out not to be text.
 */
export function createSniffer(filename = ''): (part: Buffer) => string {
  let mediaType: string | undefined
  let assertText: ((part: Buffer) => void) | undefined
  return (part) => {
    if (mediaType === undefined) {
      const head = part.subarray(0, headLength)
      mediaType = sniffBinary(head)
      if (mediaType === undefined) {
        assertText = createTextCheck(head)
        mediaType = sniffText(head, filename)
      }
    }
    assertText?.(part)
    return mediaType
  }
}

/** The media type of a file in memory; see `createSniffer`. Throws `MediaTypeError`. */
export const sniffMediaType = (bytes: Buffer, filename = ''): string => createSniffer(filename)(bytes)

function sniffBinary(head: Buffer): string | undefined {
  if (head.includes('%PDF-')) return pdfType
  if (head.toString('hex', 0, 4) === zip) return docxType
  if (head.toString('hex', 0, 8) === oldOffice)
    throw new MediaTypeError(
      'Encrypted files and Word files from before 2007 (.doc) are not supported. Save the document as .docx without a password.',
    )
  return undefined
}

function sniffText(head: Buffer, filename: string): string {
  const text = new TextDecoder(findMark(head) ?? 'utf-8').decode(head)
  const start = text.replace(/^(?:\s|<!--.*?-->|<\?xml.*?\?>)+/s, '')
  const isPage = /^<(?:!doctype html|html|head|body)\b/i.test(start)
  return isPage || (/\.x?html?$/i.test(filename) && /^<\w/.test(start)) ? htmlType : textType
}

/** Returns a function that throws for a part that is not text, by the rules of `findEncoding`. */
function createTextCheck(head: Buffer): (part: Buffer) => void {
  if (findMark(head)) return () => {}
  const decoder = hasControls(head) ? new TextDecoder('utf-8', { fatal: true }) : undefined
  return (part) => {
    try {
      if (part.includes(0)) throw new TypeError('a zero byte')
      decoder?.decode(part, { stream: true })
    } catch {
      throw new MediaTypeError('Unsupported file type. Use text, Markdown, HTML, PDF or Word (.docx).')
    }
  }
}

/** Returns the encoding that a byte order mark names. */
function findMark(bytes: Buffer): string | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  return undefined
}

const hasControls = (head: Buffer) => head.some((byte) => byte < 0x20 && !(byte >= 0x09 && byte <= 0x0d))

/**
 * Returns UTF-16 if there is a byte order mark, UTF-8 if the bytes are valid, otherwise windows-1252, in which every
 * byte is a character. Returns undefined if the bytes are not text.
 */
function findEncoding(bytes: Buffer): string | undefined {
  const marked = findMark(bytes)
  if (marked) return marked
  if (bytes.includes(0)) return undefined
  if (isUtf8(bytes)) return 'utf-8'
  return hasControls(bytes.subarray(0, headLength)) ? undefined : 'windows-1252'
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
