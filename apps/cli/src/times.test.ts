import { expect, it } from 'vitest'
import { formatTime, parseDuration, parseExpiry } from './times.ts'

const now = Date.parse('2026-11-30T09:00:00Z')

it.each([
  ['90d', '2027-02-28T09:00:00Z'],
  ['12h', '2026-11-30T21:00:00Z'],
  ['30m', '2026-11-30T09:30:00Z'],
  ['2027-01-31', '2027-01-31T00:00:00Z'],
  ['2027-01-31T12:00Z', '2027-01-31T12:00:00Z'],
  ['2027-01-31T12:00:30+02:00', '2027-01-31T10:00:30Z'],
])('%s is %s', (text, time) => {
  expect(formatTime(parseExpiry(text, now))).toBe(time)
})

it.each([
  '',
  'tomorrow',
  '90',
  '90 d',
  '-1d',
  '1.5d',
  '999999d',
  '1y',
  '2027',
  '2027-02-30',
  '2027-13-01',
  '2027-01-31T12:00',
])('the expiry “%s” is invalid', (text) => {
  expect(() => parseExpiry(text, now)).toThrow(
    `Invalid expiry "${text}". Use a duration like 90d or 12h, or a date like 2027-01-31.`,
  )
})

it.each(['0d', '2026-11-30', '2026-11-30T09:00Z'])('the expiry %s has passed', (text) => {
  expect(() => parseExpiry(text, now)).toThrow(`The expiry ${text} has passed. Use a later one.`)
})

it('a duration may be 0, as an overlap', () => {
  expect(parseDuration('0h')).toBe(0)
})
