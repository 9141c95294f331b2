import { makeArchive, makeDocx, makePdf } from '@repo/testing/files'
import { describe, expect, it } from 'vitest'
import { createSniffer, csvType, docxType, htmlType, notebookType, pdfType, sniffMediaType } from './media-type.ts'

const utf16 = (text: string) => Buffer.from(text, 'utf16le')
const latin1 = (text: string) => Buffer.from(text, 'latin1')
const officeFile = (folder: string, main: string) =>
  makeArchive({
    '[Content_Types].xml': `<Types><Override PartName="/${folder}/main.xml" ContentType="application/vnd.openxmlformats-officedocument.${main}.main+xml"/></Types>`,
    [`${folder}/main.xml`]: '<a/>',
  })
const xlsx = officeFile('xl', 'spreadsheetml.sheet')
const openDocument = (mimetype: string) => makeArchive({ mimetype, 'content.xml': '<a/>' })
const mail = 'Return-Path: <a@b.example>\r\nFrom: Ann <a@b.example>\r\nTo: c@d.example\r\nSubject: Tides\r\n\r\nHello'
const png = Buffer.from('89504e470d0a1a0a0000000d4948445200000001000000010802000000', 'hex')

describe('the type of a file', () => {
  it.each<[string, Buffer | string, string, string]>([
    ['a PDF', makePdf(['a']), 'a.txt', pdfType],
    ['a PDF after a byte order mark and blank lines', latin1('\xef\xbb\xbf\r\n%PDF-1.4\n%\xe2\xe3'), 'a', pdfType],
    ['a PDF after the headers of a download', latin1('X: 1\n\n%PDF-1.4\n%\xe2\xe3\xcf\xd3\n\0\x01'), 'a', pdfType],
    ['Markdown that mentions a PDF', '# Signatures\n\nA PDF begins with `%PDF-1.7`.', 'a.md', 'text/plain'],
    ['UTF-16 that mentions a PDF', utf16('A PDF begins with %PDF-1.7.'), 'a.txt', 'text/plain'],
    ['a Word document named .txt', makeDocx(['a']), 'a.txt', docxType],
    ['a page without a doctype', '\uFEFF <!-- c --> <HTML lang=en>', 'a.pdf', htmlType],
    ['XHTML', '<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0">\n<html>', 'a.xml', htmlType],
    ['a page in UTF-16 without a byte order mark', utf16('<!doctype html><p>Tides'), 'a', htmlType],
    ['a fragment named .html', '<p>a', 'a.html', htmlType],
    ['a text named .html', '1 < 2', 'a.html', 'text/plain'],
    ['Markdown that begins with a tag', '<p align=center>a', 'README.md', 'text/plain'],
    ['Markdown that begins with a drawing', '<svg></svg>\n# Tides', 'README.md', 'text/plain'],
    ['Markdown that begins with a link', '["Tides"](tides.md) and {braces}', 'a.md', 'text/plain'],
    ['a list of references', '[1, 2] say so', 'a.txt', 'text/plain'],
    ['a template', '{{ title }}', 'a.txt', 'text/plain'],
    ['a text about cars', 'BMW, MZ and ID3 are brands.', 'a.txt', 'text/plain'],
    ['a memo that begins like a mail', 'From: Ann\nTo: Bob\n\nHello', 'a.txt', 'text/plain'],
    ['a log with colours', '\x1b[31mred\x1b[0m café', 'a.log', 'text/plain'],
    ['a table', 'a;b\n1;2', 'a.CSV', csvType],
    ['a notebook', '{"cells": []}', 'a.ipynb', notebookType],
    ['a notebook named .txt', '{\n "cells": [', 'a.txt', notebookType],
  ])('%s', async (_, bytes, filename, type) => {
    expect(await sniffMediaType(Buffer.from(bytes), { filename })).toBe(type)
  })

  it.each<[string, Buffer | string, string, RegExp]>([
    ['an Excel file', xlsx, 'a.xlsx', /^Excel files \(\.xlsx\) are not supported\. Save each sheet as CSV\.$/],
    ['an Excel file named .docx', xlsx, 'a.docx', /^Excel files/],
    ['slides', officeFile('ppt', 'presentationml.presentation'), 'a.pptx', /^PowerPoint files.* Save it as PDF\.$/],
    ['an EPUB', openDocument('application/epub+zip'), 'a', /^EPUB books \(\.epub\)/],
    ['an OpenDocument text', openDocument('application/vnd.oasis.opendocument.text'), 'a', /\(\.odt\).*\.docx or PDF/],
    ['an OpenDocument sheet', openDocument('application/vnd.oasis.opendocument.spreadsheet'), 'a', /\(\.ods\).* CSV/],
    ['an archive', makeArchive({ 'a.txt': 'a' }), 'a.zip', /^Files of type \.zip are not supported\. Use text/],
    [
      'an old Word file',
      Buffer.from(`d0cf11e0a1b11ae1${'00'.repeat(600)}`, 'hex'),
      'a.doc',
      /\.doc.*Save it as \.docx/,
    ],
    ['RTF', '{\\rtf1\\ansi Tides}', 'a.txt', /^RTF files \(\.rtf\)/],
    ['PostScript', '%!PS-Adobe-3.0\n', 'a.ps', /^PostScript files/],
    ['JSON', '{"a": 1}', 'a.txt', /^JSON files are not supported\. Convert the data to CSV or text\.$/],
    ['JSON by line', '{"a":1}\n{"a":2}', 'a', /^JSON files/],
    ['a JSON array', '[\n  {"a": 1}\n]', 'a', /^JSON files/],
    ['JSON by its name', '[1, 2]', 'a.json', /^JSON files/],
    ['a mail', mail, 'a.txt', /^Mails \(\.eml\).* PDF\.$/],
    ['a PNG image named .txt', png, 'a.txt', /^Images \(\.png\) are not supported\. Run text recognition/],
    ['a JPEG image', Buffer.from('ffd8ffe000104a46494600010100', 'hex'), 'a', /^Images \(\.jpg\)/],
    ['an SVG image', '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">', 'a', /^Images \(\.svg\)/],
    ['a sound', Buffer.from('5249464624000000574156456660', 'hex'), 'a', /^Files of type \.wav/],
    ['random bytes', Buffer.from([200, 1, 2, 3, 250, 251]), 'a', /^Unsupported file type\. Use text/],
    ['zero bytes', Buffer.alloc(2000), 'a', /^Unsupported file type/],
  ])('%s is rejected', async (_, bytes, filename, message) => {
    await expect(sniffMediaType(Buffer.from(bytes), { filename })).rejects.toThrow(message)
  })

  it('may be one that only an external extractor reads', async () => {
    const sniff = (bytes: Buffer | string) => sniffMediaType(Buffer.from(bytes), { hasExtractor: true })
    expect(await sniff('{\\rtf1 Tides}')).toBe('application/rtf')
    expect(await sniff(xlsx)).toBe('application/vnd.openxmlformats-officedocument.spreadsheetml.sheet')
    expect(await sniff(png)).toBe('image/png')
    expect(await sniff(mail)).toBe('message/rfc822')
    await expect(sniff('{"a": 1}')).rejects.toThrow('JSON files')
    await expect(sniff(makeArchive({ 'a.txt': 'a' }))).rejects.toThrow('.zip')
  })
})

describe('a file in several parts', () => {
  it.each([
    ['a text with a null byte in its second part', ['a text '.repeat(200), 'a\0b']],
    [
      'a text with control characters whose second part is not UTF-8',
      [`\x1b[1m${'a text '.repeat(200)}`, 'caf\xe9 au lait'],
    ],
  ])('%s is rejected at the second part', async (_, [first = '', second = '']) => {
    const sniff = createSniffer({ filename: 'a.txt' })
    expect(await sniff(latin1(first))).toBe('text/plain')
    await expect(sniff(latin1(second))).rejects.toThrow(/Unsupported file type/)
  })

  it('keeps its type when a character is divided between two parts', async () => {
    const bytes = Buffer.from(`\x1b[1m${'a'.repeat(1100)}潮`)
    const sniff = createSniffer()
    expect([await sniff(bytes.subarray(0, -1)), await sniff(bytes.subarray(-1))]).toEqual(['text/plain', 'text/plain'])
  })
})
