import { describe, expect, it } from 'vitest'
import { splitText } from './split.ts'

const row = '| Brest | high tide at noon | 4.2 m |\n'
const table = `| Port | When | Height |\n|---|:--|--:|\n${row.repeat(100)}`
const columns = 'Port | When | Height'

/** Returns the chunks after checking their positions. */
function split(text: string) {
  const chunks = [...splitText(text)]
  for (const { content, start, end } of chunks) expect(content).toBe(text.slice(start, end))
  return chunks
}

const paths = (text: string) => split(text).map(({ headings }) => headings.join(' > '))

/** Returns the headings of each chunk of a long table with this header and delimiter row. */
const pathsOf = (header: string, delimiter: string) => paths(`${header}\n${delimiter}\n${'| a | b |\n'.repeat(250)}`)

describe('a table that is cut', () => {
  it('has its column names in all chunks: the first has the header row, the others have one more heading', () => {
    const [first, ...others] = split(`# Tides\n## Ports\n${table}`)
    expect(first).toMatchObject({ headings: ['Tides', 'Ports'], content: expect.stringMatching(/^\| Port \| When/) })
    expect(others.length).toBeGreaterThan(1)
    for (const { headings, content } of others) {
      expect(headings).toEqual(['Tides', 'Ports', columns])
      expect(content).not.toContain('Port')
    }
  })

  it('has chunks as large as without a header row', () => {
    const sizes = split(table).map(({ content }) => content.length)
    expect(Math.min(...sizes.slice(0, -1))).toBeGreaterThan(1200 - row.length)
  })

  it('does not lend its column names to what precedes or follows it', () => {
    const text = 'The tide turns. '.repeat(200)
    expect(new Set(paths(`# A\n${text}\n\n${table}\n${text}`))).toEqual(new Set(['A', `A > ${columns}`]))
    expect(paths(`# A\n${table}\n${text}\n\n# B\nend`).at(-1)).toBe('B')
    const last = (below: string) => paths(`${table}${below}`).at(-1)
    expect(last(`\n${text}`)).toBe('')
    expect(last(text)).toBe('')
    expect(last(`> ${text}`)).toBe('')
    expect(last(`\`\`\`\n${'a | b\n'.repeat(400)}\`\`\``)).toBe('')
  })

  it('may follow a text without a blank line', () => {
    const text = 'The tide turns. '.repeat(100)
    const chunks = split(`${text}\n${table}`)
    const header = chunks.findIndex(({ content }) => content.includes('| Port |'))
    expect(header).toBeGreaterThan(0)
    const expected = chunks.map((_, index) => (index > header ? [columns] : []))
    expect(chunks.map(({ headings }) => headings)).toEqual(expected)
  })

  it('may follow another table or code', () => {
    const other = table.replace('Port', 'City')
    const otherColumns = 'City | When | Height'
    expect(new Set(paths(`${table}\n${other}`))).toEqual(new Set(['', columns, otherColumns]))
    expect(new Set(paths(`~~~\n${table}~~~\n${other}`))).toEqual(new Set(['', otherColumns]))
    expect(paths(`${'a|b\n-|-\n1|2\ntext\n'.repeat(200)}${table}`).at(-1)).toBe(columns)
    expect(new Set(paths(`${table}~~~\n${table}~~~\n${other}`))).toEqual(new Set(['', columns, otherColumns]))
  })
})

describe('the column names', () => {
  it.each([
    ['are trimmed', '|  Port|Height  |  ', '|---|---|', 'Port | Height'],
    ['need no outer pipes', 'Port | Height', '--- | ---', 'Port | Height'],
    ['may have only one outer pipe', '| Port | Height', '---|---|', 'Port | Height'],
    ['may have escaped pipes', '| a \\| b | c\\|d |', '|---|---|', 'a \\| b | c\\|d'],
    ['may be indented', '  | Port | Height |', '  |:-:|-:|', 'Port | Height'],
    ['may end with CRLF', '| Port | Height |\r', '|---|---|\r', 'Port | Height'],
    ['may be empty in part', '| | Height |', '|-|-|', ' | Height'],
    ['may be a single one', '| Port |', '|---|', 'Port'],
    ['may be longer than a chunk', `| ${'Port '.repeat(300)}| Height |`, '|-|-|', 'Port '.repeat(40).trim()],
    [
      'have at most 200 units',
      `| ${'x'.repeat(150)} | ${'y'.repeat(150)} |`,
      '|-|-|',
      `${'x'.repeat(150)} | ${'y'.repeat(47)}`,
    ],
    ['are never cut inside a surrogate pair', `|a${'😀'.repeat(150)}|b|`, '|-|-|', `a${'😀'.repeat(99)}`],
  ])('%s', (_, header, delimiter, expected) => {
    const found = pathsOf(header, delimiter)
    expect(found.at(0)).toBe('')
    expect(found.at(-1)).toBe(expected)
  })

  it.each([
    ['no delimiter row', '| Port | Height |', '| Brest | 4.2 m |'],
    ['a delimiter row with another number of cells', '| Port | Height |', '|---|---|---|'],
    ['a row of other signs', '| Port | Height |', '|---|-:-|'],
    ['empty names', '| | |', '|---|---|'],
    ['no header row', '', '|---|---|'],
  ])('are unknown with %s', (_, header, delimiter) => {
    expect(new Set(pathsOf(header, delimiter))).toEqual(new Set(['']))
  })

  it('are not read from fenced code', () => {
    expect(new Set(paths(`\`\`\`md\n${table}\`\`\``))).toEqual(new Set(['']))
    expect(new Set(paths(`${'text\n'.repeat(10)}~~~\n${table}`))).toEqual(new Set(['']))
  })
})

describe('any table', () => {
  /** `next` returns a seeded random number below the limit, `write` a text of fewer than `most` signs. */
  function createTexts(seed: number) {
    let state = seed
    const next = (limit: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 2 ** 32) * limit)
    }
    const signs = ['a', 'b ', '1', '. ', '\\|', '字', '😀', '-', ':', '> ', '`', '']
    return {
      next,
      write: (most: number) => Array.from({ length: next(most) }, () => signs[next(signs.length)]).join(''),
    }
  }

  it('has its column names in every chunk that begins below its header row, and in no other one', () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const { next, write } = createTexts(seed)
      const width = 1 + next(6)
      const writeRow = (most: number) => `| ${Array.from({ length: width }, () => write(most)).join(' | ')} |`
      const header = `| ${Array.from({ length: width }, (_, n) => `name ${n} ${write(20)}`).join(' | ')} |`
      const names = header.slice(1, -1).split(/(?<!\\)\|/)
      const columns = names.map((name) => name.trim()).join(' | ')
      const rows = Array.from({ length: 20 + next(200) }, () => writeRow(40))
      const above = `${'Text. '.repeat(next(400))}${['\n\n', '\n'][next(2)]}`
      const below = `${['\n\n', '\n'][next(2)]}${'x'.repeat(next(2000))}`
      const start = `# A\n${above}${header}`
      const text = `${start}\n|${'-|'.repeat(width)}\n${rows.join('\n')}`
      for (const chunk of split(text + below)) {
        const isBelowHeader = chunk.start >= start.length && chunk.start < text.length
        const name = expect.toSatisfy((text: string) => text.length > 0 && columns.startsWith(text))
        expect(chunk.headings).toEqual(isBelowHeader ? ['A', name] : ['A'])
      }
    }
  })
})
