import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { splitSections } from './sections.ts'

const long = 'A sentence of a paragraph. '.repeat(700)

describe('splitSections', () => {
  it('keeps every character, and short texts whole', () => {
    const piece = fc.constantFrom('\n\n', '```\n', '~~~\n', '- item\n', long, 'word', '\n', '> quote\n')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        expect(splitSections(pieces.join('')).join('')).toBe(pieces.join(''))
      }),
    )
    expect(splitSections('# One\n\nTwo\n\nThree')).toHaveLength(1)
  })

  it('ends a long section before the next paragraph', () => {
    expect(splitSections(`${long}\n\nNext\n\n${long}\n\nEnd`)).toEqual([`${long}\n\n`, `Next\n\n${long}\n\n`, 'End'])
  })

  it.each([
    ['code', `\`\`\`\`md\n${long}\n\n\`\`\`\n\ntext\n\n`, `\`\`\`\`\n\nNext`],
    ['a list', `- ${long}\n\n- item\n\n  more\n\n`, '1. item'],
    ['a quote', `> ${long}\n\n`, '> more'],
    ['a table', `| a |\n| - |\n| ${long} |\n\n`, '| b |'],
  ])('does not divide %s', (_, first, second) => {
    const [section = ''] = splitSections(first + second)
    expect(section).toContain(first)
    expect(section.length).toBeGreaterThan(first.length)
  })
})
