import { describe, expect, it } from 'vitest'
import { fold, isFunctionWord, pickFunctionWords, readWords, segmentRun, stem } from './words.ts'

const wordsOf = (text: string): string[] => readWords(text).map(({ word }) => word)

describe('readWords', () => {
  it('keeps identifiers, versions, file names and decimals whole', () => {
    expect(wordsOf('Set max_client_conn in v1.2.3 of README.md, not 4.90.')).toEqual([
      ...['set', 'max_client_conn', 'in', 'v1.2.3', 'of', 'readme.md', 'not', '4.90'],
    ])
  })

  it('also gives the parts of a compound', () => {
    expect(readWords('DIRECT_DATABASE_URL')[0]?.parts).toEqual(['direct', 'database', 'url'])
    expect(readWords('on-call')[0]).toMatchObject({ isExact: false, parts: ['on', 'call'] })
  })

  it('drops elisions and possessives', () => {
    expect(wordsOf("l'amende d’une customer's")).toEqual(['amende', 'une', 'customer'])
  })

  it('reads accents, case and compatibility forms as one', () => {
    expect(fold('Ｒésumé STRASSE Straße')).toBe('resume strasse strasse')
  })
})

describe('stem', () => {
  it('brings the forms of a word together', () => {
    const families = [
      'refund refunds refunded',
      'keep kept keeps',
      'policy policies',
      'stop stopped stopping',
      'bake baked baking',
    ]
    for (const family of families) expect(new Set(family.split(' ').map(stem)).size, family).toBe(1)
    expect(stem('الإجازة')).toBe(stem('إجازة'))
  })

  it('leaves short words and other scripts alone', () => {
    for (const word of ['bus', 'ing', 'кошки', '退款', 'process']) expect(stem(word)).toBe(word)
  })
})

describe('function words', () => {
  it('are those of the language of the question', () => {
    expect(pickFunctionWords(['warum', 'ist', 'die', 'tür', 'offen']).has('die')).toBe(true)
    expect(pickFunctionWords(['why', 'did', 'the', 'worker', 'die']).has('die')).toBe(false)
    expect(isFunctionWord('pourquoi')).toBe(true)
  })
})

describe('segmentRun', () => {
  it('finds the words of a Chinese clause', () => {
    expect(segmentRun('退款需要时间')).toContain('退款')
  })
})
