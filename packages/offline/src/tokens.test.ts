import { expect, it } from 'vitest'
import { limitText } from './tokens.ts'

const unlimited = { stopSequences: [], maxTokens: Number.POSITIVE_INFINITY }

it.each([
  ['keeps a text within its limits', 'one two', { maxTokens: 2 }, 'one two', 'stop'],
  ['ends before the first stop sequence', 'one two END three', { stopSequences: ['three', 'END'] }, 'one two ', 'stop'],
  ['ends at the last token', '0123456789', { maxTokens: 1 }, '0123', 'length'],
  [
    'prefers a stop sequence before the last token',
    '0123456789',
    { maxTokens: 1, stopSequences: ['3'] },
    '012',
    'stop',
  ],
  [
    'prefers the last token before a stop sequence',
    '0123456789',
    { maxTokens: 1, stopSequences: ['6'] },
    '0123',
    'length',
  ],
  ['never splits a surrogate pair', 'abc🙂', { maxTokens: 1 }, 'abc', 'length'],
  ['accepts an empty text', '', { maxTokens: 0 }, '', 'stop'],
])('%s', (_, text, limits, expected, finishReason) => {
  expect(limitText(text, { ...unlimited, ...limits })).toEqual({ text: expected, finishReason })
})
