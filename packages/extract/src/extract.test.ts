import { Readable } from 'node:stream'
import { DocumentError, pdfType, sniffMediaType } from '@repo/rag'
import { makeDocx, makeDocxBomb, makePdf, makePdfBomb, makePdfWithCmap } from '@repo/testing/files'
import { describe, expect, it } from 'vitest'
import { extract } from './extract.ts'

const toFile = (bytes: Buffer, mediaType: string) => ({ mediaType, size: bytes.length, parts: Readable.from([bytes]) })
/** Returns the text of a file, with its type detected as in `POST /documents`. */
const read = async (bytes: Buffer, filename?: string) =>
  extract(toFile(bytes, await sniffMediaType(bytes, { filename })))
const html = async (body: string) => (await read(Buffer.from(`<!doctype html><html><body>${body}</body></html>`))).text
/** Right-to-left text as a PDF stores it: in visual order, from left to right. */
const asSeen = (text: string) => [...text].reverse().join('')

describe('a PDF', () => {
  it('returns its text with the start of each page, and separates paragraphs', async () => {
    const bytes = makePdf(['First line,\nand the second.\n\nAnother paragraph.', '', 'Third page.'])
    const { text, pages = [] } = await read(bytes)
    expect(text).toBe('First line,\nand the second.\n\nAnother paragraph.\n\nThird page.')
    expect(pages.map((start) => text.slice(start).slice(0, 5))).toEqual(['First', 'Third', 'Third'])
  })

  it.each([
    ['Chinese', '潮水每天涨落两次。'],
    ['Japanese', '潮が満ちる、一日に二回。'],
    ['Korean', '밀물은 하루에 두 번 온다.'],
    ['Cyrillic and accents', 'Прилив — naïve café ﬁn'],
    ['beyond the basic plane', 'mathematics 𝒜 and 😀'],
  ])('in %s', async (_, line) => {
    expect((await read(makePdf([line]))).text.normalize('NFKC')).toBe(line.normalize('NFKC'))
  })

  const toUtf16 = (text: string) => Buffer.from(text, 'utf16le').swap16()
  it.each([
    ['GB1', 'UniGB-UCS2-H', toUtf16('退货运费'), '退货运费'],
    ['CNS1', 'UniCNS-UTF16-H', toUtf16('潮水漲落'), '潮水漲落'],
    ['Japan1', '90ms-RKSJ-H', Buffer.from('8d6082cc92aa', 'hex'), '港の潮'], // Shift JIS
    ['Korea1', 'KSCms-UHC-H', Buffer.from('b0a1b3aa', 'hex'), '가나'],
  ])('in a font of %s that encodes characters only with %s', async (ordering, cmap, line, text) => {
    expect((await read(makePdfWithCmap(ordering, cmap, line))).text).toBe(text)
  })

  it.each([
    ['Hebrew', 'הגאות באה פעמיים ביום'],
    ['Arabic', 'المد يأتي مرتين في اليوم'],
  ])('in %s, in reading order', async (_, line) => {
    expect((await read(makePdf([asSeen(line)]))).text).toBe(line)
  })

  it('joins words that are hyphenated at line ends, and keeps other hyphens', async () => {
    const lines = [
      'A well-known har-',
      'bour, once un-',
      'known, is well-',
      'known now. Ein-',
      'und Ausgang, ab-',
      'seits.',
    ]
    const { text } = await read(makePdf([lines.join('\n')]))
    expect(text).toBe('A well-known harbour, once unknown, is well-known now. Ein-\nund Ausgang, abseits.')
  })

  it('leaves out headers and footers that every page repeats, and keeps text that only looks like them', async () => {
    const page = (n: number) => `Harbour rules\nRule ${n}.\nHarbour rules\nIt is strict.\n- ${n} -`
    const { text, pages = [] } = await read(
      makePdf(['Harbour rules', ...[1, 2, 3].map(page), '1984\nRule 4.\nPage 5 of 5']),
    )
    const starts = pages.map((start, index) => text.slice(start, pages[index + 1]).trim())
    const kept = [1, 2, 3].map((n) => `Rule ${n}.\nHarbour rules\nIt is strict.`)
    expect(starts).toEqual(['Harbour rules', ...kept, '1984\nRule 4.'])
  })

  it('with 200 pages has each page at its position', async ({ annotate }) => {
    const line = 'The tide turns twice a day, and the harbour master writes it down.\n'
    const startedAt = performance.now()
    const { text, pages = [] } = await read(
      makePdf(Array.from({ length: 200 }, (_, n) => `Page ${n + 1} begins.\n${line.repeat(40)}`)),
    )
    expect(pages).toHaveLength(200)
    for (const [index, start] of pages.entries())
      expect(text.slice(start)).toMatch(new RegExp(`^Page ${index + 1} begins`))
    await annotate(
      `a PDF of 200 pages, ${text.length} characters: read in ${Math.round(performance.now() - startedAt)} ms`,
    )
  })

  it.each([
    ['has a password', makePdf(['Secret.'], { encrypted: true }), /protected by a password/],
    ['contains only images', makePdf(['', '']), /only scanned images.*OCR/],
    ['is truncated', Buffer.from('%PDF-1.7\n1 0 obj'), /damaged/],
  ])('that %s is rejected with this reason', async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toThrow(message)
    await expect(read(bytes)).rejects.toBeInstanceOf(DocumentError)
  })
})

describe('a Word document', () => {
  it('returns headings, text and tables as Markdown', async () => {
    const { text } = await read(makeDocx(['# Tides', 'Ebb & flood <both>.', '| when | what |', 'הגאות 潮']))
    expect(text).toBe('# Tides\n\nEbb & flood <both>.\n\n| when | what |\n\nהגאות 潮')
  })

  it.each([
    ['is truncated', makeDocx([]).subarray(0, -60), /damaged/],
    ['contains no text', makeDocx(['']), /contains no text/],
  ])('that %s is rejected with this reason', async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toThrow(message)
  })
})

describe('an HTML page', () => {
  it('returns its article without the parts that every page of the site repeats', async () => {
    const text = await html(`
      <header><nav><a href="/">Home</a></nav>Brand</header><div role="navigation">Menu</div><div class="sidebar">Ads</div>
      <h1>Tides</h1><p>It <b>turns</b>, see <a href="https://tide.example">the table</a>.</p>
      <script>evil()</script><div hidden>Not shown</div><form>Subscribe</form><footer>Imprint</footer>`)
    expect(text).toBe('# Tides\n\nIt turns, see the table.')
    const main = await html(
      '<div>Teasers</div><main><header><h1>Tides</h1></header><p>It turns.</p></main><div>More</div>',
    )
    expect(main).toBe('# Tides\n\nIt turns.')
  })

  it('keeps lists, code and tables, one line per row', async () => {
    const rows = '<tr><th>Port</th><th>High</th></tr><tr><td>Brest | FR</td><td><b>12</b>:00</td></tr>'
    expect(
      await html(`<h2>A</h2><ul><li>one</li><li>two</li></ul><pre>if (a) {\n  # b\n}</pre><table>${rows}</table>`),
    ).toBe(
      '## A\n\n- one\n- two\n\n```\nif (a) {\n  # b\n}\n```\n\n| Port | High |\n|---|---|\n| Brest \\| FR | 12:00 |',
    )
  })

  it.each([
    [
      'td in thead',
      '<thead><tr><td>a</td><td>b</td></tr></thead><tr><td>1</td><td>2</td></tr>',
      '| a | b |\n|---|---|\n| 1 | 2 |',
    ],
    ['an empty corner', '<tr><td></td><th>b</th></tr><tr><th>1</th><td>2</td></tr>', '|  | b |\n|---|---|\n| 1 | 2 |'],
    ['names of rows only', '<tr><th>a</th><td>1</td></tr><tr><th>b</th><td>2</td></tr>', '| a | 1 |\n| b | 2 |'],
    ['no names', '<tr><td>1</td><td>2</td></tr>', '| 1 | 2 |'],
    ['no rows', '', ''],
  ])('writes a delimiter row only below the header row of a table: %s', async (_, rows, expected) => {
    expect(await html(`<h2>A</h2><table>${rows}</table>`)).toBe(`## A\n\n${expected}`.trim())
  })

  it('is decoded with the encoding that it declares', async () => {
    const page = '<html><head><meta charset="iso-8859-2"></head><body><p>P\xf8\xedliv</p></body></html>'
    expect((await read(Buffer.from(page, 'latin1'))).text).toBe('Příliv')
    const xhtml = '<?xml version="1.0" encoding="iso-8859-2"?>\n<html xmlns="a"><body><p>P\xf8\xedliv</p></body></html>'
    expect((await read(Buffer.from(xhtml, 'latin1'))).text).toBe('Příliv')
  })

  it('with nothing but a frame is reported as such', async () => {
    await expect(html('<nav>Home</nav>')).rejects.toThrow('contains no text')
  })
})

describe('a text', () => {
  it.each([
    ['UTF-8', Buffer.from('潮 and ebb')],
    ['UTF-8 with a byte order mark', Buffer.from('\uFEFF潮 and ebb')],
    ['UTF-16', Buffer.from('\uFEFF潮 and ebb', 'utf16le')],
    ['UTF-16 with the other byte order', Buffer.from('\uFEFF潮 and ebb', 'utf16le').swap16()],
  ])('in %s', async (_, bytes) => {
    expect((await read(bytes)).text).toBe('潮 and ebb')
  })
})

describe('a malicious file', () => {
  const limit = { timeMs: 20_000, memoryMb: 1024, textLength: 2_000_000 }

  it.each([
    ['a Word document that unpacks to 400 MB', makeDocxBomb(400)],
    ['a PDF that unpacks to 1.5 GB', makePdfBomb(1500)],
  ])("%s fails without using this process's memory", async (_, bytes) => {
    const mediaType = await sniffMediaType(bytes)
    expect(bytes.length).toBeLessThan(2_000_000)
    const before = process.memoryUsage().rss
    const reading = extract(toFile(bytes, mediaType), undefined, limit)
    await expect(reading).rejects.toBeInstanceOf(DocumentError)
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000)
  })

  it('is limited in time', async () => {
    const slow = makePdf(Array.from({ length: 300 }, () => 'A line of text.\n'.repeat(45)))
    const reading = extract(toFile(slow, pdfType), undefined, { ...limit, timeMs: 50 })
    await expect(reading).rejects.toThrow('takes longer than 0.05 s')
  })

  it('is limited in the length of its text', async () => {
    const bytes = makePdf(['One page of text.'])
    const reading = extract(toFile(bytes, pdfType), undefined, { ...limit, textLength: 10 })
    await expect(reading).rejects.toThrow('more than 10 characters')
  })

  it('ends together with the worker that reads it', async () => {
    const stopping = new AbortController()
    const reading = extract(toFile(makePdf(['a']), pdfType), stopping.signal)
    stopping.abort(new Error('stopped'))
    await expect(reading).rejects.toThrow('stopped')
  })

  it('is not reported as damaged when it cannot be read to its end', async () => {
    const bytes = makePdf(['a'])
    async function* cutOff() {
      yield bytes.subarray(0, 100)
      throw new Error('the database is away')
    }
    const reading = extract({ mediaType: pdfType, size: bytes.length, parts: cutOff() })
    await expect(reading).rejects.toThrow('the database is away')
  })

  it('is not read at all when its size means that its text is too long', async () => {
    async function* unread(): AsyncGenerator<Buffer> {
      yield Promise.reject(new Error('it was read'))
    }
    const reading = extract({ mediaType: 'text/plain', size: 8_000_001, parts: unread() }, undefined, limit)
    await expect(reading).rejects.toThrow('more than 2000000 characters')
  })
})
