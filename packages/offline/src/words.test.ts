import { describe, expect, it } from 'vitest'
import { findRoot, fold, isFunctionWord, isGerman, keepContentWords, readWords, stem } from './words.ts'

describe('readWords', () => {
  it('keeps identifiers, versions, file names and decimals whole, followed by their parts', () => {
    expect(readWords('Set max_client_conn in v1.2 of README.md, not 4.90.')).toEqual(
      'set max_client_conn max client conn in v1.2 v1 2 of readme.md readme md not 4.90'.split(' '),
    )
  })

  it('removes elisions and possessives', () => {
    expect(readWords("l'amende d’une customer's")).toEqual(['amende', 'une', 'customer'])
  })

  it('segments text without spaces', () => {
    expect(readWords('退款需要时间')).toContain('退款')
  })
})

it('folds accents, case and compatibility forms', () => {
  expect(fold('Ｒésumé STRASSE Straße')).toBe('resume strasse strasse')
})

describe('stem', () => {
  it('is the same for all forms of a word', () => {
    const families = ['refund refunds refunded', 'policy policies', 'stop stopped stopping', 'bake baked baking']
    for (const family of families) expect(new Set(family.split(' ').map(stem)).size, family).toBe(1)
  })

  it('leaves short words and other scripts alone', () => {
    for (const word of ['bus', 'ing', 'кошки', '退款', 'process']) expect(stem(word)).toBe(word)
  })
})

it('finds one root for synonyms', () => {
  expect(findRoot('prices')).toBe(findRoot('cost'))
  expect(findRoot('prices')).not.toBe(findRoot('closed'))
})

describe('function words', () => {
  it('are removed by the language of the text', () => {
    expect(keepContentWords(['warum', 'ist', 'die', 'tur', 'offen'])).toEqual(['tur', 'offen'])
    expect(keepContentWords(['why', 'did', 'the', 'worker', 'die'])).toEqual(['worker', 'die'])
    expect(isFunctionWord('pourquoi')).toBe(true)
  })

  it('identify German', () => {
    expect(isGerman(['warum', 'ist', 'die', 'tur', 'offen'])).toBe(true)
    expect(isGerman(['why', 'did', 'the', 'worker', 'die'])).toBe(false)
  })
})
