import { describe, expect, it } from 'vitest'
import { LlmError } from '../llm.ts'
import type { SseEvent } from './sse-parser.ts'
import { createSseParser } from './sse-parser.ts'

/** Returns every event of `text`, pushed in reads of `size` bytes. */
function parse(text: string, size = 1_000_000): SseEvent[] {
  const bytes = Buffer.from(text)
  const parser = createSseParser()
  const events: SseEvent[] = []
  for (let start = 0; start < bytes.length; start += size)
    events.push(...parser.push(bytes.subarray(start, start + size)))
  return [...events, ...parser.end()]
}

describe('createSseParser', () => {
  const cases = [
    { what: 'an event at its blank line', text: 'data: one\n\ndata: two\n\n', data: ['one', 'two'] },
    { what: 'a value without the space after the colon', text: 'data:one\n\n', data: ['one'] },
    { what: 'only one space as the separator', text: 'data:  one \n\n', data: [' one '] },
    { what: 'CRLF', text: 'data: one\r\n\r\ndata: two\r\n\r\n', data: ['one', 'two'] },
    { what: 'several data lines as one value', text: 'data: one\ndata:\ndata: two\n\n', data: ['one\n\ntwo'] },
    { what: 'nothing in comments, ids and retries', text: ': hello\n\nid: 7\nretry: 10\n\n:\n\n', data: [] },
    { what: 'a byte order mark before the first field', text: '\uFEFFdata: one\n\n', data: ['one'] },
    { what: 'a last event without its blank line', text: 'data: one\n\ndata: two\n', data: ['one', 'two'] },
    { what: 'a last event without any line break', text: 'data: one\n\ndata: two', data: ['one', 'two'] },
    { what: 'characters of two to four bytes', text: 'data: é汉🙂\n\n', data: ['é汉🙂'] },
    { what: 'no field whose name only starts with data', text: 'database: one\ndata\n\n', data: [] },
  ]
  for (const { what, text, data } of cases) {
    it(`reads ${what}, however the bytes are cut`, () => {
      for (const size of [1, 2, 3, 5, 1_000_000]) expect(parse(text, size).map((event) => event.data)).toEqual(data)
    })
  }

  it('names an event, and only that event', () => {
    expect(parse('event: error\ndata: one\n\ndata: two\n\n')).toEqual([
      { name: 'error', data: 'one' },
      { name: '', data: 'two' },
    ])
  })

  it('returns an event as soon as its last byte has arrived', () => {
    const parser = createSseParser()
    expect(parser.push(Buffer.from('data: one\n'))).toEqual([])
    expect(parser.push(Buffer.from('\n'))).toEqual([{ name: '', data: 'one' }])
  })

  it('accepts an event of 1 MiB less its field name, and rejects a longer line or event', () => {
    const mebibyte = 1024 * 1024
    expect(parse(`data: ${'x'.repeat(mebibyte - 10)}\n\n`, 65_536)[0]?.data.length).toBe(mebibyte - 10)
    const refusal = expect.objectContaining({ name: 'LlmError', code: 'model_protocol' })
    expect(() => parse('x'.repeat(mebibyte + 1), 65_536)).toThrow(LlmError)
    expect(() => parse('x'.repeat(mebibyte + 1), 65_536)).toThrow(refusal)
    expect(() => parse(`data: ${'x'.repeat(1000)}\n`.repeat(1100), 65_536)).toThrow(refusal)
  })
})
