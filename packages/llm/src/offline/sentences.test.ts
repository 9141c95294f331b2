import { describe, expect, it } from 'vitest'
import { splitPassage, splitSentences } from './sentences.ts'

const textsOf = (passage: string): string[] => splitPassage(passage).map(({ text }) => text)

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

describe('splitPassage', () => {
  it('takes headings as context, not as sentences', () => {
    const [unit] = splitPassage('# Handbook\n\n## Backups\n\nThey are kept for 35 days.')
    expect(unit).toMatchObject({ text: 'They are kept for 35 days.', context: 'Handbook\nBackups' })
  })

  it('takes plain titles and numbered clauses as headings', () => {
    const units = splitPassage(
      '3. Fees\nThe Customer shall pay within 30 days of the invoice.\n\nOpening hours\n\nWe open at nine.',
    )
    expect(units.map(({ text, context }) => [text, context])).toEqual([
      ['The Customer shall pay within 30 days of the invoice.', 'Fees'],
      ['We open at nine.', 'Opening hours'],
    ])
  })

  it('knows which question of the document a sentence answers', () => {
    const [unit, ...more] = splitPassage('How do I pay?\nBy card.')
    expect(unit).toMatchObject({ text: 'By card.', asked: 'How do I pay?' })
    expect(more).toEqual([])
  })

  it('joins hard-wrapped lines and drops emphasis, links, images, tags and footnote marks', () => {
    const wrapped =
      'The **granite** tower, _built_ by [Alison](https://a.example),\nstands<br> on Maray.[2] ![x](y.png)'
    expect(textsOf(wrapped)).toEqual(['The granite tower, built by Alison, stands on Maray.'])
  })

  it('leaves identifiers and code spans as they are', () => {
    const text = 'Set `a_b_c` and max_client_conn, not __init__ or 2 * 3 * 4.'
    expect(textsOf(text)).toEqual([text])
  })

  it('reads list items alone, and a short list as a whole with its lead-in', () => {
    expect(textsOf('To restore:\n\n1. Stop the API.\n2. Run `restore`.')).toEqual([
      'Stop the API.',
      'Run `restore`.',
      'To restore:\n1. Stop the API.\n2. Run `restore`.',
    ])
  })

  it('reads table rows under their header', () => {
    expect(splitPassage('| Plan | Price |\n|---|---|\n| Pro | 29 USD |')).toMatchObject([
      { kind: 'row', text: 'Pro | 29 USD', context: 'Plan | Price' },
    ])
  })

  it('gives code with the sentence that leads in to it', () => {
    expect(textsOf('To start, run:\n\n```sh\nnpm start\n```')).toEqual(['To start, run: `npm start`'])
  })

  it('marks what a chunk edge has cut', () => {
    const units = splitPassage('of the pool is twenty. This one is whole. But this one is')
    expect(units.map(({ isPartial }) => isPartial)).toEqual([true, false, true])
  })

  it('never quotes what could be read as a citation', () => {
    expect(textsOf('Read `items[1]` first. Then stop.')).toEqual(['Then stop.'])
  })
})
