import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { ConfigError, computeCost, readConfig, readDoctorConfig } from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'prices-'))
afterAll(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'prices.json')
const read = (text: string, PRICES_FILE = path) => {
  writeFileSync(path, text)
  return readConfig({ DATABASE_URL: 'postgres://a@127.0.0.1/b', PRICES_FILE }).prices
}

it('computes the cost of input, cached input and output', () => {
  const prices = read('{"gpt": {"input": 2, "cachedInput": 0.5, "output": 8}, "embed": {"input": 0.1}}')
  const tokens = { inputTokens: 1_000_000, cachedTokens: 400_000, outputTokens: 100_000 }
  expect(computeCost(prices, { model: 'gpt', ...tokens })).toBeCloseTo(1.2 + 0.2 + 0.8)
  expect(computeCost(prices, { model: 'embed', ...tokens })).toBeCloseTo(0.1)
  for (const model of ['other', 'toString']) expect(computeCost(prices, { model, ...tokens })).toBeUndefined()
  expect(readConfig({ DATABASE_URL: 'postgres://a@127.0.0.1/b' }).prices).toEqual({})
})

it.each([
  ['{', `${path} must be valid JSON like {"gpt`],
  ['[]', `${path} must be an object like {"gpt`],
  ['{"gpt": 2}', `${path}.gpt must be an object like`],
  ['{"gpt": {"output": 2}}', `${path}.gpt.input must be a number of US dollars`],
  ['{"gpt": {"input": "2"}}', `${path}.gpt.input must be a number of US dollars`],
  ['{"gpt": {"input": -1}}', `${path}.gpt.input must be at least 0`],
  ['{"gpt": {"input": 1, "cached": 1}}', `${path}.gpt has the unknown key cached. Use input, cachedInput, output`],
])('%s stops the start with one line', (text, message) => {
  expect(() => read(text)).toThrow(ConfigError)
  expect(() => read(text)).toThrow(message)
})

it('a missing file stops the start, and doctor reports it', () => {
  const message = 'PRICES_FILE must be the path of a readable JSON file'
  expect(() => read('{}', '/nowhere')).toThrow(message)
  expect(readDoctorConfig({ DATABASE_URL: 'postgres://a@127.0.0.1/b', PRICES_FILE: '/nowhere' }).problems).toEqual([
    message,
  ])
})
