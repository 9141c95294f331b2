import { createLlm } from '@repo/llm'
import { createRandom } from '@repo/testing/random'
import { describe, expect, it } from 'vitest'
import { type Chunk, splitText } from './split.ts'

const limit = 1200
const contents = (text: string) => [...splitText(text)].map(({ content }) => content)
const paths = (text: string) => [...splitText(text)].map(({ headings }) => headings.join(' > '))

/** Checks the invariants of a split and returns the chunks. */
function checkSplit(text: string): Chunk[] {
  const chunks = [...splitText(text)]
  const titles = new Set(chunks.flatMap(({ headings }) => headings))
  let last = 0
  for (const { content, start, end } of chunks) {
    expect(content).toBe(text.slice(start, end))
    expect(content.length).toBeLessThanOrEqual(limit)
    expect(content.trim()).not.toBe('')
    expect(content.isWellFormed()).toBe(true)
    expect(start).toBeGreaterThanOrEqual(last)
    expect(readSkippedLines(text.slice(last, start)).filter((line) => !titles.has(line))).toEqual([])
    last = end
  }
  expect(text.slice(last).trim()).toBe('')
  return chunks
}

/** Returns the lines that are not blank, without heading markers. */
function readSkippedLines(gap: string): string[] {
  const lines = gap
    .split('\n')
    .map((line) => line.replace(/^\uFEFF? {0,3}#{1,6}\s|\s#+\s*$|^\s*(?:={3,}|-{3,})\s*$/g, ''))
  return lines.map((line) => line.trim()).filter(Boolean)
}

const parts = [
  '# One',
  '## Two ##',
  '#### Four',
  '###### C#',
  '#no heading',
  `# ${'endless '.repeat(40)}`,
  'Title\n=====',
  'Subtitle\n--------',
  '- item\n---',
  'A short paragraph. It has two sentences.',
  'Line one\nline two\n# Three\nright below',
  'Sentence after sentence, and so on. '.repeat(60),
  'word '.repeat(700),
  'x'.repeat(3000),
  '\t\tcolumn\tcolumn\t'.repeat(200),
  '汉字没有空格。'.repeat(400),
  '字'.repeat(2500),
  '👩‍👩‍👧‍👦'.repeat(400),
  `a${'😀'.repeat(1500)}`,
  '- one\n  - two\n    - three\n      1. four\n- five',
  '```sh\n# not a heading\n\necho\n```',
  `~~~\n${'# a comment\nrun --fast\n\n'.repeat(120)}~~~`,
  '```inline``` code',
  '```never closed\n# inside',
  '| a | b |\n|---|---|\n| 1 | 2 |',
  `| a | b |\n|---|---|\n${'| cell | another |\n'.repeat(150)}`,
  '---',
  ' '.repeat(2000),
  `${' '.repeat(2000)}far right`,
  '\u0301'.repeat(1500),
]

describe('any text', () => {
  it('is split into pieces of at most 1,200 units with exact positions that omit only white space and headings', () => {
    for (let seed = 0; seed < 300; seed += 1) {
      const random = createRandom(seed)
      const pick = <T>(list: T[]) => list.slice(Math.floor(random() * list.length)).slice(0, 1)
      const ends = pick(['\n', '\n\n', '\r\n\r\n', '\n \t\n\n'])
      const text = Array.from({ length: 12 }, () => [...pick(parts), ...ends]).flat()
      checkSplit(text.join(''))
      checkSplit(text.join('').replaceAll(/\r?\n/g, '\r\n'))
    }
  })

  it.each([
    ['nothing', ''],
    ['white space', ' \t\r\n\n\u00a0\u2003\n'],
    ['a byte order mark', '\uFEFF'],
  ])('of %s has no chunk', (_, text) => {
    expect(checkSplit(text)).toEqual([])
  })

  it('of one line of 100 kB is cut after sentences', () => {
    const chunks = checkSplit('The tide turns twice a day, they say. '.repeat(2700))
    expect(chunks.filter(({ content }) => !content.endsWith('they say.'))).toEqual([])
    expect(chunks.length).toBeLessThan(100)
  })

  it('of one endless sentence is cut after words', () => {
    const chunks = checkSplit('nevertheless '.repeat(1000))
    expect(chunks.filter(({ content }) => !/^nevertheless( nevertheless)*$/.test(content))).toEqual([])
  })

  it('of Chinese without spaces is cut after its full stops', () => {
    const chunks = checkSplit('退货运费由买家承担。'.repeat(1000))
    expect(chunks.filter(({ content }) => !content.endsWith('。'))).toEqual([])
  })

  it('of emoji alone is never cut inside one', () => {
    for (const shift of ['', 'a']) checkSplit(shift + '😀'.repeat(2000))
  })
})

describe('the size of a chunk', () => {
  it('is estimated in tokens: half as many Cyrillic letters as Latin ones, a quarter as many of other scripts', () => {
    const longest = (text: string) => Math.max(...checkSplit(text).map(({ content }) => content.length))
    expect(longest('x'.repeat(5000))).toBe(1200)
    expect(longest('д'.repeat(5000))).toBe(600)
    expect(longest('字'.repeat(5000))).toBe(300)
    expect(longest('한'.repeat(5000))).toBe(300)
    expect(longest('ش'.repeat(5000))).toBe(300)
  })

  it('is counted in the embedder’s own tokens if it can count them', () => {
    const countWords = (text: string) => text.match(/\S+/g)?.length ?? 0
    const text = 'a, bb cccccc '.repeat(500)
    const sizes = [...splitText(text, [], countWords)].map(({ content }) => countWords(content))
    expect(Math.max(...sizes)).toBe(300)
    expect(sizes.slice(0, -1).every((size) => size > 290)).toBe(true)
  })

  it.each([
    ['English', 'The tide turns twice a day, in 12 hours and 25 minutes; see `tide_table`.\n'],
    ['Finnish', 'Vuorovesi vaihtuu kahdesti päivässä, ja satamasta lähdetään aamulla.\n\n'],
    ['Hebrew', 'הגאות באה פעמיים ביום, והספינה יוצאת בבוקר. '],
    ['Chinese', '潮水每天涨落两次，船早上出发。'],
    ['special tokens', '<|endoftext|> and <|im_start|> are texts. '],
  ])('is 300 tokens of OpenAI’s tokenizer with an OpenAI embedder: %s', async (_, sentence) => {
    const options = { baseUrl: 'http://127.0.0.1', beforeCall: () => {}, firstByteTimeoutMs: 1, idleTimeoutMs: 1 }
    const { embedder } = createLlm({ ...options, chatModel: 'unused', embeddingModel: 'text-embedding-3-small' })
    const count = (await embedder.loadTokenCounter?.()) ?? expect.fail('no tokenizer')
    const sizes = [...splitText(sentence.repeat(300), [], count)].map(({ content }) => count(content))
    expect(Math.max(...sizes)).toBeLessThanOrEqual(301) // 301 if a word of more than 64 letters is cut
    expect(Math.min(...sizes.slice(0, -1))).toBeGreaterThan(250)
  })

  it('is counted in short pieces, and only as far as chunks are requested', () => {
    let [read, longest] = [0, 0]
    const count = (text: string) => {
      read += text.length
      longest = Math.max(longest, text.length)
      return text.length
    }
    for (const text of ['x'.repeat(1e6), '-'.repeat(1e6), '字'.repeat(1e6), '😀'.repeat(5e5)]) {
      read = 0
      splitText(text, [], count).next()
      expect(read).toBeLessThan(10_000)
    }
    expect(longest).toBeLessThanOrEqual(256)
  })

  it('of right-to-left text respects words and positions', () => {
    const chunks = checkSplit('הגאות באה פעמיים ביום '.repeat(300))
    expect(chunks.every(({ content }) => /^[\u0590-\u05ff]+( [\u0590-\u05ff]+)*$/.test(content))).toBe(true)
  })
})

describe('pages', () => {
  it('are never crossed, and each chunk has its page number', () => {
    const pages = ['One.\n\nStill one.', '', 'Three.', 'x'.repeat(1500)]
    const text = pages.map((page) => page && `${page}\n\n`).join('')
    const starts = [0, 18, 18, 26]
    expect([...splitText(text, starts)].map(({ content, page }) => [content, page])).toEqual([
      ['One.\n\nStill one.', 1],
      ['Three.', 3],
      ['x'.repeat(1200), 4],
      ['x'.repeat(300), 4],
    ])
  })
})

describe('tables and code', () => {
  const row = '| Brest | high tide at noon | 4.2 m |\n'
  it('stay whole if they fit', () => {
    const [table, code] = [row.repeat(20).trim(), `\`\`\`js\n${'call()\n\n'.repeat(60)}\`\`\``]
    expect(contents(`${'p'.repeat(900)}\n\n${table}\n\n${'p'.repeat(900)}\n\n${code}`)).toEqual([
      'p'.repeat(900),
      table,
      'p'.repeat(900),
      code,
    ])
  })

  it('are cut between lines if they do not fit', () => {
    const chunks = contents(row.repeat(200))
    expect(chunks.length).toBeGreaterThan(5)
    for (const chunk of chunks) expect(chunk.split('\n').every((line) => line === row.trim())).toBe(true)
  })
})

describe('blocks', () => {
  it('below one heading are joined up to the limit', () => {
    const paragraph = 'p'.repeat(500)
    expect(contents(`# A\n\n${paragraph}\n\n${paragraph}\n\n${paragraph}`)).toEqual([
      `${paragraph}\n\n${paragraph}`,
      paragraph,
    ])
  })

  it('never cross a heading', () => {
    expect(contents('one\n# A\ntwo\n# A\nthree')).toEqual(['one', 'two', 'three'])
  })

  it('that fit start a new chunk instead of being cut', () => {
    const list = '- item\n  - nested\n'.repeat(40).trim()
    expect(contents(`${'p'.repeat(1000)}\n\n${list}`)).toEqual(['p'.repeat(1000), list])
  })

  it('keep the indentation of their first line', () => {
    expect(contents('    four();\n\n# A\n\n\ttabbed')).toEqual(['    four();', '\ttabbed'])
  })

  it('end before the line break, also with CRLF', () => {
    expect(contents('one\r\ntwo  \r\n\r\n# A\r\n\r\nthree\r\n')).toEqual(['one\r\ntwo', 'three'])
  })

  it('of front matter are text, not headings', () => {
    expect([...splitText('---\ntitle: A\ndate: B\n---\n\n# C\ntext')]).toMatchObject([
      { headings: [], content: '---\ntitle: A\ndate: B\n---' },
      { headings: ['C'], content: 'text' },
    ])
  })
})

describe('fenced code', () => {
  it.each([
    ['backticks', '```sh\n# comment\n\n## more\n```'],
    ['tildes', '~~~\n# comment\n~~~'],
    ['a longer fence around a shorter', '````md\n```\n# comment\n```\n````'],
    ['an opening fence inside', '```\n```js\n# comment\n```'],
    ['indentation', '  ```\n# comment\n  ```'],
  ])('of %s has no headings', (_, code) => {
    expect(paths(`# A\n\n${code}\n\n# B\ntext`)).toEqual(['A', 'B'])
  })

  it('that is never closed extends to the end', () => {
    expect(contents('# A\n```\ncode\n\n# B\ntext\n\n')).toEqual(['```\ncode\n\n# B\ntext'])
  })

  it('of one line opens no fence', () => {
    expect(paths('```code``` in a line\n\n# A\ntext')).toEqual(['', 'A'])
  })
})

describe('the path of headings', () => {
  it.each([
    ['goes down and up', '# A\n1\n## B\n2\n### C\n3\n## D\n4\n# E\n5', ['A', 'A > B', 'A > B > C', 'A > D', 'E']],
    ['takes levels that skip', '# A\n### C\n1\n### D\n2\n## E\n3\n#### F\n4', ['A > C', 'A > D', 'A > E', 'A > E > F']],
    ['may begin deep', '### C\n1\n# A\n2', ['C', 'A']],
    ['knows underlined ones', 'A\n===\n1\n\nB\n---\n2', ['A', 'A > B']],
    ['leaves closing marks out, not those of a name', '## A ##\n1\n## C#\n2', ['A', 'C#']],
    ['begins behind a byte order mark', '\uFEFF# A\n1', ['A']],
    ['ignores a tag and a rule', '#tag\n\n---\n\n# A\n1', ['', 'A']],
    ['ignores a rule below a list, a quote or two lines', '- a\n---\n\n> b\n---\n\nc\nd\n---', ['']],
    ['ignores a line too long to be a title', `# ${'x'.repeat(200)}\ntext`, ['']],
    ['ignores an underlined one, too', `${'x'.repeat(201)}\n---\ntext`, ['']],
  ])('%s', (_, text, expected) => {
    expect(paths(text)).toEqual(expected)
  })

  it('becomes a chunk if nothing is below the heading, so that it can be found', () => {
    expect([...splitText('# A\n## B\n## C\ntext\n# D\n')]).toMatchObject([
      { headings: ['A', 'B'], content: '## B' },
      { headings: ['A', 'C'], content: 'text' },
      { headings: ['D'], content: '# D' },
    ])
  })
})

describe('the time it takes', () => {
  const size = 120_000
  it.each([
    '#',
    '# ',
    '# a\n',
    `# a${' '.repeat(190)}b\n`,
    '`',
    '```\n',
    'word',
    'word ',
    '. ',
    'a\n---\n',
    'a\n---b\n',
    '|-|\n',
    'a|b\n-|-\nc\n',
    ' ',
    '\n',
    '字',
    'e\u0301',
  ])('grows linearly with a text of %j', (unit) => {
    const text = unit.repeat(size / unit.length)
    const once = measureCpu(`${text}x`)
    const fourTimes = measureCpu(`${text.repeat(4)}x`)
    expect(fourTimes).toBeLessThan(12 * Math.max(once, 5000)) // µs; quadratic growth would mean 16 times
  })

  function measureCpu(text: string): number {
    const runs = Array.from({ length: 5 }, () => {
      const before = process.threadCpuUsage()
      for (const _ of splitText(text));
      const { user, system } = process.threadCpuUsage(before)
      return user + system
    })
    return Math.min(...runs)
  }
})
