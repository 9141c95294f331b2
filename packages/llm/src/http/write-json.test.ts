import { expect, it } from 'vitest'
import { writeJson } from './write-json.ts'

const write = async (value: unknown) => Buffer.concat(await writeJson(value)).toString()

it.each([
  ['nothing', {}],
  ['empty parts', { a: [], b: {}, c: '' }],
  ['every kind of value', { a: 'x"\\\n', 'a "key"': [1, -0.5, null, true, [[]]], u: undefined, list: [undefined] }],
  ['long texts', { url: 'A'.repeat(300_000), emoji: `${'a'.repeat(65_535)}🏊`, swimmers: '🏊'.repeat(100_000) }],
])('writes %s as JSON.stringify does', async (_, value) => {
  expect(await write(value)).toBe(JSON.stringify(value))
})

it('writes U+FFFD for U+0000 and for lone surrogates', async () => {
  expect(await write(['a\0b', '\ud83d', 'ok \u0001'])).toBe('["a\uFFFDb","\uFFFD","ok \\u0001"]')
})

it('yields to the event loop between pieces of a long text', async () => {
  let turns = 0
  const count = () => {
    turns += 1
    immediate = setImmediate(count)
  }
  let immediate = setImmediate(count)
  const pieces = await writeJson({ text: 'a'.repeat(4_000_000) })
  clearImmediate(immediate)
  expect(pieces.length).toBeGreaterThan(10)
  expect(turns).toBeGreaterThan(10)
})
