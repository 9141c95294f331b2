import { languages } from '@repo/testing/languages'
import { createRandom } from '@repo/testing/random'
import iconv from 'iconv-lite'
import { describe, expect, it } from 'vitest'
import { decodeText } from './decode.ts'

const unknown = 'Unknown text encoding. Save the file as UTF-8.'
/** Returns the text, or undefined if it is rejected with the documented reason. */
const attempt = (bytes: Buffer) =>
  decodeText(bytes).catch((error) => {
    expect(error).toMatchObject({ name: 'DocumentError', message: unknown })
    return undefined
  })
const encode = (text: string, encoding: string) => iconv.encode(text, encoding, { addBOM: false })
const utf16 = ['utf-16le', 'utf-16be']
const samples = Object.entries(languages).flatMap(([language, { encodings, text }]) =>
  [...encodings, ...utf16, 'utf-8'].map((encoding) => ({ language, encoding, text })),
)

describe('the encoding of a text', () => {
  it.each(samples)('$encoding, in $language', async ({ encoding, text }) => {
    expect(await decodeText(encode(text, encoding))).toBe(text)
  })

  it('is found, or the text is rejected, whatever its length: no text is garbled', async ({ annotate }) => {
    const random = createRandom(20)
    const counts = new Map<number, { accepted: number; all: number }>()
    for (const { encoding, text } of samples)
      for (const length of [20, 50, 150, 400]) {
        const count = counts.get(length) ?? { accepted: 0, all: 0 }
        for (let round = 0; round < 4; round += 1) {
          const start = Math.floor(random() * Math.max(0, text.length - length))
          const part = text.slice(start, start + length)
          const decoded = await attempt(encode(part, encoding))
          if (decoded !== undefined) expect(decoded).toBe(part)
          count.all += 1
          count.accepted += decoded === undefined ? 0 : 1
        }
        counts.set(length, count)
      }
    const shares = [...counts].map(([length, { accepted, all }]) => `${length} characters: ${accepted} of ${all}`)
    await annotate(shares.join(', '))
    const { accepted = 0, all = 1 } = counts.get(400) ?? {}
    expect(accepted / all).toBeGreaterThan(0.8)
  })

  it.each([
    ['a byte order mark', Buffer.from('\uFEFFébb', 'utf8')],
    ['UTF-16 with a byte order mark', Buffer.from('\uFEFFébb', 'utf16le')],
    ['UTF-16 with the other byte order', Buffer.from('\uFEFFébb', 'utf16le').swap16()],
  ])('%s', async (_, bytes) => {
    expect(await decodeText(bytes)).toBe('ébb')
  })

  it('ISO-2022-JP, which looks like ASCII', async () => {
    expect(await decodeText(Buffer.from('\x1b$B$3$s$K$A$O\x1b(B!', 'latin1'))).toBe('こんにちは!')
    expect(await attempt(Buffer.from('\x1b$)C\x0e0!3*\x0f', 'latin1'))).toBe(undefined)
  })

  it.each([
    ['windows-1252', Buffer.from('caf\xe9', 'latin1')],
    ['a DOS code page', Buffer.from('na\x8bve', 'latin1')],
    ['windows-1250 that resembles UTF-8', Buffer.from('to v\xed\x9a, zvl\xe1\x9a\x9d aj rozumn\xe9', 'latin1')],
    ['windows-1250 that resembles cut UTF-8', Buffer.from('to v\xed\x9a', 'latin1')],
    [
      'UTF-8 and windows-1252 in one file',
      Buffer.from(`${'Ã¼ber Ã¤ltere HÃ¤user. '.repeat(9)}${'\xfcber '.repeat(9)}`, 'latin1'),
    ],
    ['random bytes', Buffer.from(Array.from({ length: 3000 }, (_, n) => 0x80 + ((n * n * 7 + n) % 128)))],
    [
      'a byte order mark before random bytes',
      Buffer.from([0xff, 0xfe, ...Array.from({ length: 999 }, (_, n) => (n * n) % 251)]),
    ],
  ])('%s in a file that does not prove it is rejected', async (_, bytes) => {
    expect(await attempt(bytes)).toBe(undefined)
  })

  it('may differ between lines only if a line feed is not a character of it', async () => {
    const text = `${'An English line.\n'.repeat(10_000)}${languages.French?.text}`
    expect(await decodeText(encode(text, 'windows-1252'))).toBe(text)
  })
})

describe('damaged UTF-8', () => {
  const text = 'Grüße aus Åre – 潮が満ちる'
  it('keeps its text when one byte is invalid', async () => {
    const bytes = Buffer.from(text)
    for (const invalid of [0xff, 0xc3, 0x80, 0xe9])
      expect(await decodeText(Buffer.concat([bytes, Buffer.from([invalid]), bytes]))).toBe(`${text}\uFFFD${text}`)
  })

  it('keeps its text when it is cut in its last character', async () => {
    for (const last of ['é', '–', '😀'])
      for (let length = 1; length < Buffer.byteLength(last); length += 1)
        expect(await decodeText(Buffer.concat([Buffer.from(text), Buffer.from(last).subarray(0, length)]))).toBe(
          `${text}\uFFFD`,
        )
    expect(await decodeText(Buffer.from('A plain text\xe2\x80', 'latin1'))).toBe('A plain text\uFFFD')
  })

  it('keeps its text when a long one contains several invalid bytes', async () => {
    const bytes = Buffer.concat([Buffer.from(text.repeat(20)), Buffer.from([0xff, 0x20, 0xfe])])
    expect(await decodeText(bytes)).toBe(`${text.repeat(20)}\uFFFD \uFFFD`)
  })
})

describe('a declared encoding', () => {
  it.each([
    ['iso-8859-1', 'caf\xe9 \x80', 'café €'], // browsers read it as windows-1252
    ['gb2312', '\xb3\xb1\xcb\xae', '潮水'],
    ['x-sjis', '\x92\xaa', '潮'],
    ['windows-1251', '\xc4\xe0', 'Да'],
  ])('%s of a page is used', async (declared, bytes, text) => {
    expect(await decodeText(Buffer.from(bytes, 'latin1'), declared)).toBe(text)
  })

  it('of an XML declaration is used', async () => {
    const xml = '<?xml version="1.0" encoding="ISO-8859-2"?>\n<p>P\xf8\xedliv</p>'
    expect(await decodeText(Buffer.from(xml, 'latin1'))).toContain('<p>Příliv</p>')
  })

  it('is ignored if the bytes are UTF-8 or do not match, or if it is unknown', async () => {
    expect(await decodeText(Buffer.from('café'), 'windows-1252')).toBe('café')
    const german = languages.German?.text ?? ''
    for (const declared of ['shift_jis', 'utf-8', 'utf-16', 'x-unknown'])
      expect(await decodeText(encode(german, 'windows-1252'), declared)).toBe(german)
  })
})
