import { Readable } from 'node:stream'
import { sniffMediaType } from '@repo/rag'
import { makeDocx, makeDocxFromXml, makePdf, makePdfFromStreams } from '@repo/testing/files'
import { describe, expect, it } from 'vitest'
import { extract } from './extract.ts'

const read = async (bytes: Buffer, filename = '') =>
  extract({ mediaType: await sniffMediaType(bytes, { filename }), size: bytes.length, parts: Readable.from([bytes]) })
const html = async (body: string, head = '') =>
  read(Buffer.from(`<!doctype html><html><head><title>T</title>${head}</head><body>${body}</body></html>`))
const prose = (topic: string) => `<p>${`The ${topic} of the harbour is described in this sentence. `.repeat(8)}</p>`

describe('the text of a page that is kept', () => {
  it.each([
    [
      'in a form',
      '<h1>Returns</h1><form action="/"><p>Returns take 30 days.</p><input name="q"></form>',
      'Returns take 30 days.',
    ],
    ['a form around the page', `<form id="aspnetForm"><h1>Fees</h1>${prose('fee')}</form>`, 'The fee of the harbour'],
    [
      'an accordion of buttons',
      '<h1>Help</h1><button class="accordion">When?</button><div hidden><p>At noon.</p></div><button aria-expanded="false">Where?</button><div style="display:none"><p>At pier 4.</p></div>',
      ['When?', 'At noon.', 'Where?', 'At pier 4.'],
    ],
    [
      'details',
      '<details><summary>Who pays?</summary>The owner pays.</details><p>End.</p>',
      'Who pays?\n\nThe owner pays.',
    ],
    ['a tab panel', '<a href="#two">Two</a><div id="two" aria-hidden="true">Low tide.</div>', 'Low tide.'],
    [
      'beside an article that is a teaser',
      `<article><a href="/x">Read more</a> news</article><div>${prose('mole')}</div>`,
      'The mole',
    ],
    ['beside an empty main', `<main></main><div id="app"><h1>Mole</h1>${prose('mole')}</div>`, '# Mole'],
    ['without a body tag', `<h1>Mole</h1>${prose('mole')}`, '# Mole'],
  ])('%s', async (_, body, expected) => {
    const { text } = await html(body)
    for (const part of [expected].flat()) expect(text).toContain(part)
  })

  it('has hidden copies of visible text only once', async () => {
    const { text } = await html(`${prose('mole')}<div aria-hidden="true">${prose('mole')}</div>`)
    expect(text.match(/The mole/g)).toHaveLength(8)
  })

  const links = Array.from({ length: 30 }, (_, n) => `<li><a href="/${n}">Another story with the number ${n}</a></li>`)
  const page = `<div class="menu"><ul>${links.join('')}</ul></div><div class="post"><h1>The new mole</h1>${prose('mole').repeat(4)}</div>`
  it('is that of the article if the page declares one, with a warning when much is left out', async () => {
    const article = await html(page, '<meta property="og:type" content="article">')
    expect(article.text).toContain('# The new mole')
    expect(article.text).not.toContain('Another story')
    const asides = await html(`<main>${prose('mole').repeat(2)}</main>${prose('pier').repeat(2)}`)
    expect(asides.text).not.toContain('pier')
    expect(asides.warnings).toEqual([expect.stringMatching(/^Only the main part of this page was read: 5\d % /)])
  })

  it('includes lists of links in a page that is not an article', async () => {
    const { text, warnings } = await html(page)
    expect(text).toContain('Another story with the number 29')
    expect(warnings).toEqual([])
  })
})

const t = (text: string) => `<w:r><w:t xml:space="preserve">${text}</w:t></w:r>`
const p = (content: string, properties = '') => `<w:p><w:pPr>${properties}</w:pPr>${content}</w:p>`
const m = (text: string) => `<m:r><m:t>${text}</m:t></m:r>`
const word = async (body: string, parts?: { [name: string]: string }) => read(makeDocxFromXml(body, parts))
const namespace = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'

describe('a Word document', () => {
  it.each([
    [
      'a fraction and a root',
      `<m:f><m:num>${m('a+b')}</m:num><m:den>${m('2')}</m:den></m:f>${m('=')}<m:rad><m:deg/><m:e>${m('c')}</m:e></m:rad>`,
      '(a+b)/2=√c',
    ],
    [
      'a sum',
      `<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>${m('i=1')}</m:sub><m:sup>${m('n')}</m:sup><m:e><m:sSub><m:e>${m('x')}</m:e><m:sub>${m('i')}</m:sub></m:sSub></m:e></m:nary>`,
      '∑_(i=1)^n x_i',
    ],
    [
      'a matrix in brackets',
      `<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val="]"/></m:dPr><m:e><m:m><m:mr><m:e>${m('1')}</m:e><m:e>${m('0')}</m:e></m:mr><m:mr><m:e>${m('0')}</m:e><m:e>${m('1')}</m:e></m:mr></m:m></m:e></m:d>`,
      '[[1, 0; 0, 1]]',
    ],
  ])('contains %s as text', async (_, math, expected) => {
    const { text } = await word(p(`${t('Where ')}<m:oMath>${math}</m:oMath>${t(' holds.')}`))
    expect(text).toBe(`Where ${expected} holds.`)
  })

  const level = (n: number, format: string, text: string, more = '') =>
    `<w:lvl w:ilvl="${n}"><w:start w:val="1"/><w:numFmt w:val="${format}"/>${more}<w:lvlText w:val="${text}"/></w:lvl>`
  const numbering = `<w:numbering ${namespace}><w:abstractNum w:abstractNumId="0">${level(0, 'decimal', '%1.', '<w:pStyle w:val="Heading1"/>')}${level(1, 'decimal', '%1.%2')}${level(2, 'lowerLetter', '(%3)')}${level(3, 'upperRoman', '%4')}</w:abstractNum>
    <w:abstractNum w:abstractNumId="1">${level(0, 'bullet', '·')}</w:abstractNum>
    <w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>
    <w:num w:numId="3"><w:abstractNumId w:val="0"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride></w:num></w:numbering>`
  const at = (level: number, num = 1) => `<w:numPr><w:ilvl w:val="${level}"/><w:numId w:val="${num}"/></w:numPr>`
  it('has the numbers of headings, clauses and lists as Word counts them', async () => {
    const heading = '<w:pStyle w:val="Heading1"/><w:numPr><w:numId w:val="1"/></w:numPr>'
    const body = [
      ...[
        p(t('Scope'), heading),
        p(t('Ports.'), at(1)),
        p(t('Between.')),
        p(t('Piers.'), at(1)),
        p(t('Old.'), at(2)),
        p(t('New.'), at(2)),
      ],
      ...[
        p(t('Fees'), heading),
        p(t('Due.'), at(1)),
        p(t('Bullet.'), at(0, 2)),
        p(t('Again.'), at(0, 3)),
        p(t('Deep.'), at(3)),
      ],
    ]
    const { text } = await word(body.join(''), { 'numbering.xml': numbering })
    const lines = text.split(/\n+/).map((line) => line.trim())
    expect(lines.filter((line) => !/^[-\s]*$/.test(line)).map((line) => line.replace(/^(?:- )+(?=\S)/, ''))).toEqual([
      ...['# 1. Scope', '1.1 Ports.', 'Between.', '1.2 Piers.', '(a) Old.', '(b) New.'],
      ...['# 2. Fees', '2.1 Due.', 'Bullet.', '7. Again.', 'I Deep.'],
    ])
  })

  const box = (text: string) => `<w:txbxContent>${p(t(text))}</w:txbxContent>`
  const drawing = (text: string) =>
    `<w:drawing><wp:inline><a:graphic><a:graphicData><wps:wsp><wps:txbx>${box(text)}</wps:txbx></wps:wsp></a:graphicData></a:graphic></wp:inline></w:drawing>`
  it.each([
    [
      'for new and old programs',
      `<mc:AlternateContent><mc:Choice Requires="wps">${drawing('Boxed.')}</mc:Choice><mc:Fallback><w:pict><v:rect><v:textbox>${box('Boxed.')}</v:textbox></v:rect></w:pict></mc:Fallback></mc:AlternateContent>`,
    ],
    [
      'for new programs only',
      `<mc:AlternateContent><mc:Choice Requires="wps">${drawing('Boxed.')}</mc:Choice><mc:Fallback/></mc:AlternateContent>`,
    ],
    ['without alternatives', drawing('Boxed.')],
  ])('contains a text box %s once', async (_, content) => {
    const { text } = await word(p(`${t('Before.')}<w:r>${content}</w:r>`) + p(t('After.')))
    expect(text.match(/Boxed\./g)).toHaveLength(1)
    expect(text).toMatch(/Before\.[\s\S]*After\./)
  })

  it('contains footnotes and fields, has tracked changes accepted, and leaves comments out', async () => {
    const note = `<w:footnotes ${namespace}><w:footnote w:id="2">${p(t('A note.'))}</w:footnote></w:footnotes>`
    const comment = `<w:comments ${namespace}><w:comment w:id="3">${p(t('A remark.'))}</w:comment></w:comments>`
    const body = p(
      `${t('The ')}<w:ins w:id="8">${t('new ')}</w:ins><w:del w:id="9"><w:r><w:delText>old </w:delText></w:r></w:del><w:fldSimple w:instr="PAGE">${t('page')}</w:fldSimple><w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:commentReference w:id="3"/></w:r>`,
    )
    const { text } = await word(body, { 'footnotes.xml': note, 'comments.xml': comment })
    expect(text).toBe('The new page[1]\n\n1. A note.')
  })

  it('reports images and diagrams', async () => {
    const graphic = (content: string, uri = '') =>
      `<w:r><w:drawing><wp:inline><a:graphic><a:graphicData uri="${uri}">${content}</a:graphicData></a:graphic></wp:inline></w:drawing></w:r>`
    const { warnings } = await word(
      p(`${t('See.')}${graphic('<a:blip/>')}${graphic('', 'http://schemas.openxmlformats.org/drawingml/2006/chart')}`),
    )
    expect(warnings).toEqual(['1 image was not read.', '1 diagram was not read.'])
    expect((await read(makeDocx(['Only text.']))).warnings).toEqual([])
  })
})

const line = (text: string) => `BT /F 12 Tf 50 700 Td (${text}) Tj ET`
const image = 'q 100 0 0 100 50 50 cm BI /W 1 /H 1 /CS /G /BPC 8 ID x EI Q'
const drawingOnly = '50 50 m 100 100 l S'

describe('a PDF', () => {
  it('contains the values of its form fields with their labels, and a form without other text is not a scan', async () => {
    const fields = [
      '/FT /Tx /T (f1) /TU (Family name) /V (Turing)',
      '/FT /Ch /Ff 131072 /T (Port) /Opt [[(a) (Brest)] [(b) (Dover)]] /V (b)',
      '/FT /Tx /T (pin) /Ff 8192 /V (1234)',
      '/FT /Tx /T (topmost[0].x) /V (Loose value)',
    ]
    expect((await read(makePdfFromStreams([line('Application')], fields))).text).toBe(
      'Application\nFamily name: Turing\nPort: Dover\nLoose value',
    )
    const { text, warnings } = await read(makePdfFromStreams([drawingOnly], fields))
    expect(text).toContain('Family name: Turing')
    expect(warnings).toEqual([])
  })

  it('with scans among its pages is read, and names them in a warning', async () => {
    const { text, pages, warnings } = await read(makePdf(['First.', '', 'Third.', '']))
    expect(text).toBe('First.\n\nThird.')
    expect(pages).toHaveLength(4)
    expect(warnings).toEqual(['No text was found on pages 2, 4. If it is scanned, run OCR and upload it again.'])
  })

  it.each([
    ['only images', [image, image], /only scanned images/],
    [
      'images below the stamp of a scanner',
      [1, 2, 3].map((n) => `${line(`Scanned with Scan, page ${n}`)} ${image}`),
      /only scanned images/,
    ],
    [
      '(cid:9) in place of its characters',
      [line('\\(cid:12\\)\\(cid:7\\)\\(cid:33\\) \\(cid:12\\)')],
      /cannot be decoded.*OCR/,
    ],
  ])('with %s is rejected', async (_, streams, message) => {
    await expect(read(makePdfFromStreams(streams))).rejects.toThrow(message)
  })

  it('with private use characters in place of its text is rejected, and one with a few such symbols is read', async () => {
    await expect(read(makePdf(['\uE012\uE034\uE000 \uE077']))).rejects.toThrow(/cannot be decoded.*OCR/)
    expect((await read(makePdf(['\uF0B7 A point of a list.']))).text).toContain('A point of a list.')
    const { text, warnings } = await read(makePdf(['Readable.', '\uE012\uE034\uE000']))
    expect(text).toBe('Readable.')
    expect(warnings).toEqual(['The characters of page 2 cannot be decoded. Run OCR and upload it again.'])
  })

  it('with the same short text on all pages is not a scan without images', async () => {
    expect((await read(makePdfFromStreams([1, 2, 3].map((n) => line(`Label ${n}`))))).text).toContain('Label 2')
  })
})
