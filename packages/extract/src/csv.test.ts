import { languages } from '@repo/testing/languages'
import { describe, expect, it } from 'vitest'
import { extractCsv } from './csv.ts'

const read = async (text: string | Buffer) => (await extractCsv(Buffer.from(text))).text

describe('a CSV file', () => {
  it.each([
    ['commas', 'Port,High\n"Brest, FR",12:00\n'],
    ['semicolons', '\uFEFFPort;High\r\nBrest, FR;12:00\r\n'],
    ['tabs', 'Port\tHigh\nBrest, FR\t12:00'],
    ['pipes', 'Port|High\n\n"Brest, FR"|12:00'],
  ])('with %s is a table with column names', async (_, csv) => {
    expect(await read(csv)).toBe('| Port | High |\n|---|---|\n| Brest, FR | 12:00 |')
  })

  it('keeps quotes, pipes and line breaks within cells', async () => {
    expect(await read('Name,Note\n"a ""b"" c","one | two\nthree"\n')).toBe(
      '| Name | Note |\n|---|---|\n| a "b" c | one \\| two three |',
    )
  })

  it('keeps decimal commas in a file with semicolons', async () => {
    expect(await read('Ware;Preis\nApfel;1,50\nBirne;2,25')).toContain('| Apfel | 1,50 |')
  })

  it('has no column names when its first row contains values', async () => {
    expect(await read('1,2026-11-30,$4.50\n2,2026-12-01,$5')).toBe(
      '| 1 | 2026-11-30 | $4.50 |\n| 2 | 2026-12-01 | $5 |',
    )
    expect(await read('a,a\nb,c')).toBe('| a | a |\n| b | c |')
  })

  it('keeps lines above the table, and fills short rows', async () => {
    expect(await read('Tides of 2026\n\nPort,High,Low\nBrest,12:00\n')).toBe(
      'Tides of 2026\n\n| Port | High | Low |\n|---|---|---|\n| Brest | 12:00 |  |',
    )
  })

  it('with one column remains a list', async () => {
    expect(await read('just\none\ncolumn')).toBe('just\none\ncolumn')
  })

  it('in an old encoding is decoded', async () => {
    const rows = languages.German?.text.replaceAll(/\. /g, '\nÜber;').replace(/^/, 'Größe;Öffnung\nÜber;') ?? ''
    expect(await read(Buffer.from(rows, 'latin1'))).toContain(
      '| Größe | Öffnung |\n|---|---|\n| Über | Der Hafenmeister',
    )
  })

  it('with a quotation mark that is not closed is rejected', async () => {
    await expect(read('Name,Note\na,"open\nb,c\n')).rejects.toThrow(
      /^Invalid CSV: a quotation mark in row 2 is not closed/,
    )
  })
})
