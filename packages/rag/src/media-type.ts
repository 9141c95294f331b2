export const textType = 'text/plain'
export const htmlType = 'text/html'
export const csvType = 'text/csv'
export const notebookType = 'application/x-ipynb+json'
export const pdfType = 'application/pdf'
export const docxType = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'

const headLength = 1024 // bytes; file signatures and declarations are at the beginning

/** No reader supports this file. `message` names its type and says what to do. */
export class MediaTypeError extends Error {
  code = 'unsupported_file' as const

  constructor(message: string) {
    super(message)
    this.name = 'MediaTypeError'
  }
}

export type SnifferOptions = {
  filename?: string | undefined
  /** An external extractor reads office files, mails and images. */
  hasExtractor?: boolean | undefined
}

/**
 * Returns a function that receives the parts of a file in order and returns its media type each time. The first part has
 * at least 1,024 bytes, or is the whole file. The type depends on the bytes, never on the type that the client declares.
 * The name only tells kinds of text apart. Throws `MediaTypeError`, also at a later part that turns out not to be text.
 */
export function createSniffer({ filename = '', hasExtractor = false }: SnifferOptions = {}) {
  let mediaType: string | undefined
  let isText: ((part: Buffer) => boolean) | undefined
  return async (part: Buffer): Promise<string> => {
    if (mediaType !== undefined) {
      if (isText?.(part) === false) throw new MediaTypeError(explain(binary))
      return mediaType
    }
    const head = part.subarray(0, headLength)
    const check = createTextCheck(head)
    if (!isPdf(head) && check(part)) isText = check
    const found = isText ? sniffText(decodeHead(head), filename) : await sniffBinary(part)
    if (!readableTypes.has(found.mediaType) && !(hasExtractor && found.isExtractable))
      throw new MediaTypeError(explain(found))
    mediaType = found.mediaType
    return mediaType
  }
}

/** The media type of a file in memory; see `createSniffer`. Throws `MediaTypeError`. */
export const sniffMediaType = (bytes: Buffer, options?: SnifferOptions): Promise<string> =>
  createSniffer(options)(bytes)

/** `name` and `advice` explain an unsupported type. Of those, an external extractor reads some. */
type Found = { mediaType: string; name?: string; advice?: string; isExtractable?: boolean }

/** The types that our own readers support. */
export const readableTypes: ReadonlySet<string> = new Set([
  textType,
  htmlType,
  csvType,
  notebookType,
  pdfType,
  docxType,
])
const binary: Found = { mediaType: 'application/octet-stream' }

const asDocument = 'Save it as .docx or PDF.'
const asCsv = 'Save each sheet as CSV.'
const asPdf = 'Save it as PDF.'
const withOcr = 'Run text recognition (OCR) and upload its text or PDF.'

function explain({ name, advice }: Found): string {
  const use = advice ?? 'Use text, Markdown, CSV, HTML, a Jupyter notebook, PDF or Word (.docx).'
  return name ? `${name} are not supported. ${use}` : `Unsupported file type. ${use}`
}

/** The specification wants the signature at the start. Of 971 PDFs of test suites one has other text before it. */
const isPdf = (head: Buffer) => /^(?:\xef\xbb\xbf)?[\s\0]*%PDF-/.test(head.toString('latin1'))

/** By extension, as `file-type` finds it in the bytes. */
const office: Record<string, [name: string, advice: string]> = {
  cfb: ['Encrypted files and Office files from before 2007 (.doc, .xls, .ppt)', `${asDocument} Remove the password.`],
  xlsx: ['Excel files (.xlsx)', asCsv],
  xlsm: ['Excel files (.xlsm)', asCsv],
  ods: ['OpenDocument sheets (.ods)', asCsv],
  pptx: ['PowerPoint files (.pptx)', asPdf],
  ppsx: ['PowerPoint files (.ppsx)', asPdf],
  odp: ['OpenDocument slides (.odp)', asPdf],
  odt: ['OpenDocument texts (.odt)', asDocument],
  epub: ['EPUB books (.epub)', asPdf],
}
const word = new Set(['docx', 'docm', 'dotx', 'dotm'])

/** The type of a file that is not text. `file-type` names those that this server cannot read. */
async function sniffBinary(part: Buffer): Promise<Found> {
  if (isPdf(part.subarray(0, headLength))) return { mediaType: pdfType }
  const { fileTypeFromBuffer } = await import('file-type')
  const { ext, mime: mediaType } = (await fileTypeFromBuffer(part).catch(() => undefined)) ?? {
    ext: '',
    mime: binary.mediaType,
  }
  if (word.has(ext) || (ext === 'zip' && part.includes('word/'))) return { mediaType: docxType }
  const [name, advice] = office[ext] ?? []
  if (name && advice) return { mediaType, name, advice, isExtractable: true }
  if (mediaType.startsWith('image/'))
    return { mediaType, name: `Images (.${ext})`, advice: withOcr, isExtractable: true }
  if (ext) return { mediaType, name: `Files of type .${ext}` }
  return part.subarray(0, headLength).includes('%PDF-') ? { mediaType: pdfType } : binary
}

/** The type of a text file from its beginning. */
function sniffText(head: string, filename: string): Found {
  const start = head.replace(/^(?:\s|<!--.*?-->|<\?xml.*?\?>)+/s, '')
  const has = (extensions: RegExp) => extensions.test(filename)
  if (start.startsWith('{\\rtf'))
    return { mediaType: 'application/rtf', name: 'RTF files (.rtf)', advice: asDocument, isExtractable: true }
  if (start.startsWith('%!PS')) return { mediaType: 'application/postscript', name: 'PostScript files', advice: asPdf }
  if (/^(?:<!doctype svg|<svg)\b/i.test(start) && !has(/\.(?:md|markdown)$/i))
    return { mediaType: 'image/svg+xml', name: 'Images (.svg)', advice: withOcr }
  if (isMail(start)) return { mediaType: 'message/rfc822', name: 'Mails (.eml)', advice: asPdf, isExtractable: true }
  if (isJson(start) || has(/\.(?:json|jsonl|ndjson|geojson)$/i)) {
    const isNotebook = start.startsWith('{') && (has(/\.ipynb$/i) || /"(?:cells|nbformat)"\s*:/.test(start))
    if (isNotebook) return { mediaType: notebookType }
    return { mediaType: 'application/json', name: 'JSON files', advice: 'Convert the data to CSV or text.' }
  }
  if (has(/\.(?:csv|tsv)$/i)) return { mediaType: csvType }
  const isPage = /^<(?:!doctype html|html|head|body)\b/i.test(start)
  return { mediaType: isPage || (has(/\.x?html?$/i) && /^<\w/.test(start)) ? htmlType : textType }
}

/** A list in Markdown may begin with `[`, and a template with `{`, so a key or two values must follow. */
const isJson = (start: string) =>
  /^(?:\{\s*"(?:[^"\\\n]|\\.)*"\s*:|\[\s*(?:\{\s*"|"(?:[^"\\\n]|\\.)*"\s*,))/.test(start)

/** A mail begins with headers, and one of them is set by mail servers. */
function isMail(start: string): boolean {
  const [headers = ''] = start.split(/\r?\n\r?\n/)
  const hasServer = /^(?:received|return-path|message-id|mime-version|dkim-signature):/im.test(headers)
  return /^[\w-]+:[^\n]*\n/.test(headers) && /^from:/im.test(headers) && hasServer
}

/** Returns a function that returns whether a part is text: UTF-16, UTF-8, or an encoding without control characters. */
function createTextCheck(head: Buffer): (part: Buffer) => boolean {
  if (findUtf16(head)) return () => true
  const decoder = hasControls(head) ? new TextDecoder('utf-8', { fatal: true }) : undefined
  return (part) => {
    try {
      decoder?.decode(part, { stream: true })
      return !part.includes(0)
    } catch {
      return false
    }
  }
}

/** Escape sequences colour logs, and switch between character sets in Japanese. */
const hasControls = (bytes: Buffer) => bytes.some((byte) => byte < 0x09 || (byte > 0x0d && byte < 0x20))

const decodeHead = (head: Buffer) => new TextDecoder(findUtf16(head)).decode(head)

/** Characters that no text contains: control characters, and those that are unassigned, private or invalid. */
export const impossible = /[\uFFFD\p{Cn}\p{Co}\p{Cs}]|(?![\t-\r])\p{Cc}/u

/**
 * Returns UTF-16 if there is a byte order mark, or control characters every second one of which is the same: one of the
 * two bytes of a character has fewer values than the other. What that means is checked with the decoded text.
 */
export function findUtf16(bytes: Buffer): 'utf-16le' | 'utf-16be' | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  const head = bytes.subarray(0, headLength)
  if (!hasControls(head)) return undefined
  const [even = 0, odd = 0] = [0, 1].map((offset) => new Set(head.filter((_, index) => index % 2 === offset)).size)
  const encoding = odd <= 0.7 * even ? 'utf-16le' : even <= 0.7 * odd ? 'utf-16be' : undefined
  const text = new TextDecoder(encoding).decode(head.subarray(0, head.length & ~1)).replace(/.$/su, '')
  return encoding && !impossible.test(text) ? encoding : undefined
}
