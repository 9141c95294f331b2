import { describe, expect, it } from 'vitest'
import { readQuotes, splitSentences } from './quotes.ts'

const read = (text: string) => readQuotes({ n: 1, title: 'Notes', text })
const textsOf = (passage: string): string[] => read(passage).map(({ text }) => text)

describe('splitSentences', () => {
  it('does not break after abbreviations, inside versions, URLs or file names', () => {
    const sentences = [
      'Ask Dr. Keller, e.g. Mondays.',
      'See https://a.example/x.y?z=1. It needs v1.2.3 of README.md.',
      'Das gilt z. B. Essig und Nr. 5.',
    ]
    expect(splitSentences(sentences.join(' '))).toEqual([
      sentences[0],
      'See https://a.example/x.y?z=1.',
      'It needs v1.2.3 of README.md.',
      sentences[2],
    ])
  })

  it('splits Chinese and Arabic', () => {
    expect(splitSentences('七天内可以退货。生鲜食品除外。')).toHaveLength(2)
    expect(splitSentences('هل هذا صحيح؟ نعم هذا صحيح.')).toHaveLength(2)
  })

  it('cuts what has no full stop between words', () => {
    const pieces = splitSentences('word '.repeat(1000))
    expect(pieces.every((piece) => piece.length <= 400 && /^word( word)*$/.test(piece))).toBe(true)
  })
})

describe('readQuotes', () => {
  it('keeps title and headings as context', () => {
    expect(read('# Handbook\n\n## Backups\n\nFull backups are kept for 35 days.')).toEqual([
      { n: 1, text: 'Full backups are kept for 35 days.', context: 'Notes\nHandbook\nBackups\n', previous: '' },
    ])
  })

  it('recognises the titles of plain text', () => {
    expect(read('Opening hours\n\nThe shop opens at nine.')).toMatchObject([
      { text: 'The shop opens at nine.', context: expect.stringContaining('Opening hours') },
    ])
  })

  it('keeps the question that a sentence answers as its context', () => {
    expect(read('How do I pay?\nBy card.')).toMatchObject([
      { text: 'By card.', context: expect.stringContaining('How do I pay?') },
    ])
  })

  it('joins wrapped lines and removes emphasis, links, images, tags and footnote marks', () => {
    const wrapped =
      'The **granite** tower, _built_ by [Alison](https://a.example),\nstands<br> on Maray.[2] ![x](y.png)'
    expect(textsOf(wrapped)).toEqual(['The granite tower, built by Alison, stands on Maray.'])
  })

  it('leaves identifiers and code spans as they are', () => {
    const text = 'Set `a_b_c` and max_client_conn, not __init__ or 2 * 3 * 4.'
    expect(textsOf(text)).toEqual([text])
  })

  it('quotes each list item alone, with its introduction as context', () => {
    const items = read('To restore:\n\n1. Stop the API.\n2. Run `restore`.')
    expect(items.map(({ text }) => text)).toEqual(['Stop the API.', 'Run `restore`.'])
    expect(items.every(({ context }) => context.endsWith('To restore:'))).toBe(true)
  })

  it('quotes each table row, with the header as context', () => {
    expect(read('| Plan | Price |\n|---|---|\n| Pro | 29 USD |')).toMatchObject([
      { text: 'Pro | 29 USD', context: expect.stringContaining('Plan | Price') },
    ])
  })

  it('quotes code together with the sentence that introduces it', () => {
    expect(textsOf('To start, run:\n\n```sh\nnpm start\n```')).toEqual(['To start, run: `npm start`'])
    expect(textsOf('~~~\none\ntwo\n~~~')).toEqual(['```\none\ntwo\n```'])
  })

  it('adds the sentence before to one that starts with a pronoun', () => {
    expect(textsOf('The tower stands on Maray. It was built in 1853.')).toEqual([
      'The tower stands on Maray.',
      'The tower stands on Maray. It was built in 1853.',
    ])
  })

  it('never quotes what would be read as a citation', () => {
    expect(textsOf('Read `items[1]` first. Then stop.')).toEqual(['Then stop.'])
  })
})
