import { isUtf8 } from 'node:buffer'
import { findUtf16, impossible } from '@repo/rag/media-type'
import { DocumentError } from '@repo/rag/posted-file'

const sampleSize = 64 * 1024 // bytes; the detector takes 30 ms for them and is not more certain with more

/**
 * Decodes a text file. In this order: a byte order mark, UTF-8, `declared` (the encoding that a page names) or that of an
 * XML declaration, UTF-8 with few invalid bytes, and the encoding that a detector is confident about. Throws
 * `DocumentError` if all fail, so that no garbled text is stored.
 */
export async function decodeText(bytes: Buffer, declared?: string): Promise<string> {
  const text = decodeUnicode(bytes) ?? (await decodeDeclared(bytes, findXmlEncoding(bytes) ?? declared))
  const decoded = text ?? decodeDamagedUtf8(bytes) ?? (await decodeDetected(bytes))
  if (decoded === undefined) throw new DocumentError('Unknown text encoding. Save the file as UTF-8.')
  return decoded
}

/** Returns the text if a byte order mark or the bytes themselves determine that it is Unicode. */
export function decodeUnicode(bytes: Buffer): string | undefined {
  const utf16 = findUtf16(bytes)
  if (!utf16)
    return isUtf8(bytes) && !hasShift(bytes) && !bytes.includes(0) ? new TextDecoder().decode(bytes) : undefined
  const text = new TextDecoder(utf16).decode(bytes)
  return checkText(text.replace(/\uFFFD$/, '')) === undefined ? undefined : text // it may be cut in its last character
}

/** ISO-2022 consists of ASCII bytes and switches between character sets with escape sequences. */
const hasShift = (bytes: Buffer) => ['\x1b$', '\x1b(J'].some((sequence) => bytes.includes(sequence))

/**
 * Returns the text if it is UTF-8 except for a few bytes, each replaced by U+FFFD. Enough valid characters must prove
 * that, because texts in other encodings contain some by chance: `ášť` in ISO-8859-2 is one of three bytes.
 */
function decodeDamagedUtf8(bytes: Buffer): string | undefined {
  if (bytes.includes(0)) return undefined
  const text = new TextDecoder().decode(bytes)
  const count = (characters: RegExp) => text.match(characters)?.length ?? 0
  const longer = count(/[\u0800-\uFFFC\u{10000}-\u{10FFFF}]/gu)
  const proof = 2 * count(/[\x80-\u07FF]/g) + 3 * longer + 3 * count(/[\u2010-\u20AC]/g)
  const invalid = count(/\uFFFD/g)
  if (invalid > 1) return proof >= 40 * invalid ? text : undefined
  const isCut = /(?:\xe2[\x80-\x82]|\xf0\x9f[\x80-\xbf]?)$/.test(bytes.toString('latin1')) // in a dash or an emoji
  return proof >= 6 || isCut ? text : undefined
}

function findXmlEncoding(bytes: Buffer): string | undefined {
  const [, name] = bytes.toString('latin1', 0, 1024).match(/^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([\w.:-]+)/) ?? []
  return name
}

/** Returns the text in the encoding with this label of the WHATWG, unless bytes are invalid in it. */
async function decodeDeclared(bytes: Buffer, label?: string): Promise<string | undefined> {
  try {
    const { encoding } = new TextDecoder(label) // the standard maps some labels to other encodings, as browsers do
    return encoding.startsWith('utf-') ? undefined : await decodeAs(bytes, encoding)
  } catch {
    return undefined // unknown label
  }
}

/** Returns the text in an encoding, or undefined if that is unknown or the text is implausible. */
async function decodeAs(bytes: Buffer, encoding: string): Promise<string | undefined> {
  const { default: iconv } = await import('iconv-lite') // Node decodes some bytes of Big5 and others differently
  const name = encoding === 'iso-8859-1' ? 'windows-1252' : encoding // as browsers do
  if (/^iso-?2022-jp/.test(name)) return checkText(new TextDecoder('iso-2022-jp').decode(bytes))
  return iconv.encodingExists(name) && !/^utf-?[78]/.test(name) ? checkText(iconv.decode(bytes, name)) : undefined
}

/**
 * Evidence needed: the detector's confidence, and its lead over the next encoding that yields another plausible text,
 * each times the number of bytes beyond ASCII. docs/measurements.md says how many texts these decode.
 */
const minConfidence = 5
const minLead = 0.2
/** If the detector prefers any other, such as cp864, it is more often wrong than right. */
const common = /^(?:windows-|iso-?8859-|koi8-|gb|big5|euc-|shift|tis-620|(?:cp|ibm)(?:437|850|852|866|874|932|949)$)/
const minSample = 40 // bytes; shorter texts of other alphabets were confused

async function decodeDetected(bytes: Buffer): Promise<string | undefined> {
  const { detectAll } = await import('jschardet')
  const sample = hasShift(bytes) ? bytes.subarray(0, sampleSize) : takeSample(bytes)
  const detected = detectAll(sample, { minimumThreshold: 0 })
  const [first, ...others] = detected.map((found) => ({ ...found, encoding: found.encoding?.toLowerCase() ?? '' }))
  if (!first || hasShift(bytes)) return first?.encoding.includes('2022') ? decodeAs(bytes, first.encoding) : undefined
  const weight = sample.filter((byte) => byte > 0x7f).length
  if (sample.length < minSample || weight * first.confidence < minConfidence) return undefined
  const text = common.test(first.encoding) ? await decodeAs(bytes, first.encoding) : undefined
  for (const { encoding, confidence } of others) {
    if (weight * (first.confidence - confidence) >= minLead) break
    if (![text, undefined].includes(await decodeAs(bytes, encoding))) return undefined
  }
  return text
}

/**
 * Returns the lines with bytes beyond ASCII. Digits and punctuation would make the detector less confident. No encoding
 * except UTF-16 and UTF-32 uses their bytes or the line feed in other characters.
 */
function takeSample(bytes: Buffer): Buffer {
  const lines = bytes.toString('latin1').match(/^.*[\x80-\xff].*$/gm) ?? []
  return Buffer.from(
    lines
      .join('\n')
      .slice(0, sampleSize)
      .replaceAll(/[!-;]+/g, ' '),
    'latin1',
  )
}

/** Symbols within words, and a capital letter with an accent after a small letter. */
const improbable = /\p{L}[^\0-\x7f\p{L}\p{M}\p{P}\p{Cf}\p{Nd}\p{Zs}]\p{L}|\p{Ll}(?![A-Z])\p{Lu}/gu
const scripts = ['Latin', 'Cyrillic', 'Greek', 'Hebrew', 'Arabic', 'Thai'].map(
  (name) => new RegExp(`\\p{Script=${name}}`, 'u'),
)
const maxImprobable = 0.05 // of the characters beyond ASCII; real texts contain typing errors

/** Returns the text if people write such: only assigned characters, and hardly any word that mixes scripts or symbols. */
function checkText(text: string): string | undefined {
  if (impossible.test(text)) return undefined
  const beyondAscii = text.match(/[^\0-\x7f]/gu)?.length ?? 0
  const words = text.match(/[\p{L}\p{M}]+/gu) ?? []
  const mixed = words.filter((word) => scripts.filter((script) => script.test(word)).length > 1).length
  return mixed + (text.match(improbable)?.length ?? 0) <= maxImprobable * beyondAscii ? text : undefined
}
