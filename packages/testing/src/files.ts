import { deflateSync } from 'node:zlib'
import { strToU8, zipSync } from 'fflate'

/**
 * Returns a PDF with these pages; `\n` separates lines. Its font has no glyphs, only a ToUnicode table. That is all a
 * text extractor needs, for any script.
 */
export function makePdf(pages: string[], { encrypted = false } = {}): Buffer {
  const characters = [...new Set(pages.join(''))]
  const toHex = (code: number) => code.toString(16).padStart(4, '0')
  const toUtf16 = (text: string) => Buffer.from(text, 'utf16le').swap16().toString('hex')
  const rows = characters.map((character, index) => `<${toHex(index + 1)}> <${toUtf16(character)}>`)
  const blocks = Array.from({ length: Math.ceil(rows.length / 100) }, (_, n) => rows.slice(100 * n, 100 * n + 100))
  const map = `/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /A def /CMapType 2 def
1 begincodespacerange <0000> <ffff> endcodespacerange
${blocks.map((block) => `${block.length} beginbfchar\n${block.join('\n')}\nendbfchar`).join('\n')}
endcmap end end`
  const encode = (line: string) => [...line].map((character) => toHex(characters.indexOf(character) + 1)).join('')
  const toStream = (text: string, more = '') =>
    `<< /Length ${Buffer.byteLength(text)} ${more}>>\nstream\n${text}\nendstream`
  const first = 6
  const objects = [
    '<< /Type /Catalog /Pages 2 0 R >>',
    `<< /Type /Pages /Count ${pages.length} /Kids [${pages.map((_, n) => `${first + 2 * n} 0 R`).join(' ')}] >>`,
    '<< /Type /Font /Subtype /Type0 /BaseFont /A /Encoding /Identity-H /DescendantFonts [4 0 R] /ToUnicode 5 0 R >>',
    '<< /Type /Font /Subtype /CIDFontType2 /BaseFont /A /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /DW 500 >>',
    toStream(map),
    ...pages.flatMap((page, n) => [
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F 3 0 R >> >> /Contents ${first + 2 * n + 1} 0 R >>`,
      toStream(
        `BT /F 12 Tf 14 TL 50 750 Td ${page
          .split('\n')
          .map((line) => `<${encode(line)}> Tj T*`)
          .join(' ')} ET`,
      ),
    ]),
    ...(encrypted
      ? [`<< /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <${'ab'.repeat(32)}> /U <${'cd'.repeat(32)}> >>`]
      : []),
  ]
  return joinObjects(objects, encrypted ? `/Encrypt ${objects.length} 0 R /ID [<00> <00>]` : '')
}

/** Returns a PDF with the content streams of pages, in Helvetica, and with form fields (dictionaries) on its first page. */
export function makePdfFromStreams(streams: string[], fields: string[] = []): Buffer {
  const first = 4
  const firstField = first + 2 * streams.length
  const references = fields.map((_, n) => `${firstField + n} 0 R`).join(' ')
  return joinObjects([
    `<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [${references}] /DR << /Font << /F 3 0 R >> >> >> >>`,
    `<< /Type /Pages /Count ${streams.length} /Kids [${streams.map((_, n) => `${first + 2 * n} 0 R`).join(' ')}] >>`,
    '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>',
    ...streams.flatMap((stream, n) => [
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F 3 0 R >> >>
        /Contents ${first + 2 * n + 1} 0 R ${n === 0 ? `/Annots [${references}]` : ''} >>`,
      `<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`,
    ]),
    ...fields.map((field) => `<< /Type /Annot /Subtype /Widget /Rect [50 50 200 70] /F 4 /DA (/F 12 Tf) ${field} >>`),
  ])
}

/** Returns a PDF with one line in a font that has no ToUnicode table and refers to a predefined `cmap`. */
export function makePdfWithCmap(ordering: string, cmap: string, line: Buffer): Buffer {
  const content = `BT /F 12 Tf 50 750 Td <${line.toString('hex')}> Tj ET`
  return joinObjects([
    '<< /Type /Catalog /Pages 2 0 R >>',
    '<< /Type /Pages /Count 1 /Kids [3 0 R] >>',
    '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F 4 0 R >> >> /Contents 7 0 R >>',
    `<< /Type /Font /Subtype /Type0 /BaseFont /A /Encoding /${cmap} /DescendantFonts [5 0 R] >>`,
    `<< /Type /Font /Subtype /CIDFontType0 /BaseFont /A /FontDescriptor 6 0 R
      /CIDSystemInfo << /Registry (Adobe) /Ordering (${ordering}) /Supplement 2 >> >>`,
    `<< /Type /FontDescriptor /FontName /A /Flags 4 /FontBBox [0 -200 1000 900] /ItalicAngle 0 /Ascent 800
      /Descent -200 /CapHeight 700 /StemV 80 >>`,
    `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
  ])
}

/** Returns a PDF with one page of `megabytes` of spaces, compressed to a fraction of that. */
export function makePdfBomb(megabytes: number): Buffer {
  const packed = deflateSync(Buffer.alloc(megabytes * 1024 * 1024, ' '), { level: 9 })
  const twice = deflateSync(packed, { level: 9 }).toString('hex')
  const head = `<< /Length ${twice.length} /Filter [/ASCIIHexDecode /FlateDecode /FlateDecode] >>`
  return joinObjects([
    '<< /Type /Catalog /Pages 2 0 R >>',
    '<< /Type /Pages /Count 1 /Kids [3 0 R] >>',
    '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R >>',
    `${head}\nstream\n${twice}\nendstream`,
  ])
}

function joinObjects(objects: string[], trailer = ''): Buffer {
  let body = '%PDF-1.7\n'
  const offsets = objects.map((object, index) => {
    const offset = Buffer.byteLength(body)
    body += `${index + 1} 0 obj\n${object}\nendobj\n`
    return offset
  })
  const table = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`).join('')
  const end = `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R ${trailer} >>\nstartxref\n${Buffer.byteLength(body)}\n%%EOF`
  return Buffer.from(`${body}xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}${end}`)
}

/** Returns a Word document. A paragraph that begins with `# ` is a heading; `| a | b |` is a table with one row. */
export function makeDocx(paragraphs: string[]): Buffer {
  const run = (text: string) =>
    `<w:r><w:t xml:space="preserve">${text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</w:t></w:r>`
  const toCell = (cell: string) => `<w:tc><w:p>${run(cell.trim())}</w:p></w:tc>`
  const toXml = (text: string) => {
    if (text.startsWith('# ')) return `<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr>${run(text.slice(2))}</w:p>`
    if (text.startsWith('|')) return `<w:tbl><w:tr>${text.split('|').slice(1, -1).map(toCell).join('')}</w:tr></w:tbl>`
    return `<w:p>${run(text)}</w:p>`
  }
  return makeZip(paragraphs.map(toXml).join(''))
}

/** Returns a Word document with this XML as its body, and as other parts such as `numbering.xml`. */
export const makeDocxFromXml = (body: string, parts: { [name: string]: string } = {}): Buffer => makeZip(body, parts)

/** Returns a Word document that unpacks to so many megabytes, a thousand times its size. */
export function makeDocxBomb(megabytes: number): Buffer {
  return makeZip(`<w:p><w:r><w:t>${' '.repeat(megabytes * 1024 * 1024)}</w:t></w:r></w:p>`)
}

const wordNamespaces = Object.entries({
  m: 'http://schemas.openxmlformats.org/officeDocument/2006/math',
  mc: 'http://schemas.openxmlformats.org/markup-compatibility/2006',
  wp: 'http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing',
  a: 'http://schemas.openxmlformats.org/drawingml/2006/main',
  wps: 'http://schemas.microsoft.com/office/word/2010/wordprocessingShape',
  v: 'urn:schemas-microsoft-com:vml',
})
  .map(([prefix, uri]) => `xmlns:${prefix}="${uri}"`)
  .join(' ')

function makeZip(body: string, parts: { [name: string]: string } = {}): Buffer {
  const types = 'http://schemas.openxmlformats.org/package/2006/content-types'
  const relations = 'http://schemas.openxmlformats.org/package/2006/relationships'
  const relation = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'
  const office = `${relation}/officeDocument`
  const wordPart = 'application/vnd.openxmlformats-officedocument.wordprocessingml'
  const word = 'http://schemas.openxmlformats.org/wordprocessingml/2006/main'
  const main = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml'
  const files = {
    '[Content_Types].xml': `<Types xmlns="${types}"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="${main}"/>${Object.keys(
      parts,
    )
      .map((name) => `<Override PartName="/word/${name}" ContentType="${wordPart}.${name.replace('.xml', '')}+xml"/>`)
      .join(
        '',
      )}<Override PartName="/word/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/></Types>`,
    '_rels/.rels': `<Relationships xmlns="${relations}"><Relationship Id="r1" Type="${office}" Target="word/document.xml"/></Relationships>`,
    'word/_rels/document.xml.rels': `<Relationships xmlns="${relations}">${Object.keys(parts)
      .map((name) => `<Relationship Id="${name}" Type="${relation}/${name.replace('.xml', '')}" Target="${name}"/>`)
      .join('')}</Relationships>`,
    ...Object.fromEntries(Object.entries(parts).map(([name, text]) => [`word/${name}`, text])),
    'word/document.xml': `<w:document xmlns:w="${word}" ${wordNamespaces}><w:body>${body}</w:body></w:document>`,
    'word/styles.xml': `<w:styles xmlns:w="${word}"><w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style></w:styles>`,
  }
  return makeArchive(files)
}

/** Returns a ZIP with these files, uncompressed so that OpenDocument and EPUB are recognised as others write them. */
export function makeArchive(files: Record<string, string>): Buffer {
  const bytes = Object.entries(files).map(([name, text]) => [name, strToU8(text)])
  return Buffer.from(zipSync(Object.fromEntries(bytes), { level: files.mimetype ? 0 : 6 }))
}
