import { expect, it } from 'vitest'
import { endsInHighSurrogate, toStorableText } from './text.ts'

it('returns storable text unchanged', () => {
  const text = 'plain, 潮, 😀, \u0001, \\u0000, \uFFFD'
  expect(toStorableText(text)).toBe(text)
})

it('replaces U+0000 and lone surrogates, which Postgres rejects', () => {
  expect(toStorableText('a\0b\0')).toBe('a\uFFFDb\uFFFD')
  expect(toStorableText('\uDE00 half \uD83D')).toBe('\uFFFD half \uFFFD')
})

it('finds where a cut would divide a character', () => {
  expect(endsInHighSurrogate('a\uD83D')).toBe(true)
  expect(endsInHighSurrogate('😀')).toBe(false)
  expect(endsInHighSurrogate('😀', 1)).toBe(true)
  expect(endsInHighSurrogate('', 0)).toBe(false)
})
