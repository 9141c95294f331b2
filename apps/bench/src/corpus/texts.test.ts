import { describe, expect, it } from 'vitest'
import { createTexts } from './texts.ts'

const split = (text: string) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
const countWords = (text: string) => text.split(' ').length

describe('the generated corpus', () => {
  const { writeDocument, ask } = createTexts(1)
  const texts = Array.from({ length: 40 }, (_, index) => writeDocument(index + 1, 50)).flat()
  const questions = Array.from({ length: 2000 }, ask)

  it('has texts of 75 to about 150 words, all different', () => {
    const counts = texts.map(countWords)
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(75)
    expect(Math.max(...counts)).toBeLessThan(180)
    expect(new Set(texts).size).toBe(texts.length)
  })

  it('has questions of 8 to 12 words, all different', () => {
    const counts = questions.map(countWords)
    expect([Math.min(...counts), Math.max(...counts)]).toEqual([8, 12])
    expect(new Set(questions).size).toBe(questions.length)
  })

  it('mixes rare and common words in nearly every question', () => {
    const frequency = new Map<string, number>()
    for (const word of texts.flatMap((text) => [...new Set(split(text))]))
      frequency.set(word, (frequency.get(word) ?? 0) + 1)
    const mixed = questions.filter((question) => {
      const shares = split(question).map((word) => (frequency.get(word) ?? 0) / texts.length)
      return Math.min(...shares) < 0.01 && Math.max(...shares) > 0.05
    })
    expect(mixed.length / questions.length).toBeGreaterThan(0.9)
  })

  it('is the same for the same seed, and another for another', () => {
    expect(createTexts(1).writeDocument(1, 50)).toEqual(texts.slice(0, 50))
    expect(createTexts(2).writeDocument(1, 50)).not.toEqual(texts.slice(0, 50))
  })
})
