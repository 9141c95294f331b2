import { createParser } from 'eventsource-parser'
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
    { what: 'no field whose name only starts with data', text: 'database: one\n\n', data: [] },
    { what: 'an empty value of a field without a colon', text: 'data\n\n', data: [''] },
    { what: 'lone carriage returns', text: 'data: one\r\rdata: two\rdata: three\r\r', data: ['one', 'two\nthree'] },
    { what: 'a last event that ends in a carriage return', text: 'data: one\r', data: ['one'] },
    { what: 'a byte order mark that is not the first character', text: '\n\uFEFFdata: one\n\n', data: [] },
    { what: 'newline-delimited JSON', text: '{"a":1}\n{"a":2} \r\n{"a":3}', data: ['{"a":1}', '{"a":2} ', '{"a":3}'] },
    {
      what: 'JSON of several lines',
      text: '{\n  "a": {\n  }\n}\ndata: [DONE]',
      data: ['{\n  "a": {\n  }\n}', '[DONE]'],
    },
    { what: 'JSON of several lines whose end is not at the margin', text: '{ "a":\n 1 }', data: ['{ "a":\n 1 }\n'] },
    { what: 'JSON between events', text: 'data: one\n\n{"error":1}\n\n', data: ['one', '{"error":1}'] },
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

  it('reads a line that begins with `error:` as an event with that name', () => {
    expect(parse('error: {"code":500}\n\n')).toEqual([{ name: 'error', data: '{"code":500}' }])
  })

  it('returns an event as soon as its last byte has arrived', () => {
    const parser = createSseParser()
    expect(parser.push(Buffer.from('data: one\n'))).toEqual([])
    expect(parser.push(Buffer.from('\n'))).toEqual([{ name: '', data: 'one' }])
  })

  it('accepts an event of 4 MiB less its field name, and rejects a longer line, event or JSON document', () => {
    const limit = 4 * 1024 * 1024
    expect(parse(`data: ${'x'.repeat(limit - 10)}\n\n`, 65_536)[0]?.data.length).toBe(limit - 10)
    const refusal = expect.objectContaining({ name: 'LlmError', code: 'model_protocol' })
    expect(() => parse('x'.repeat(limit + 1), 65_536)).toThrow(LlmError)
    expect(() => parse('x'.repeat(limit + 1), 65_536)).toThrow(refusal)
    expect(() => parse(`data: ${'x'.repeat(1000)}\n`.repeat(4400), 65_536)).toThrow(refusal)
    expect(() => parse(`{\n${` ${'x'.repeat(1000)}\n`.repeat(4400)}`, 65_536)).toThrow(refusal)
  })
})

describe('10,000 random streams', () => {
  const breaks = ['\n', '\n', '\r\n', '\r', '\n\n', '\r\n\r\n', '\r\r', '\n\r']
  const fields = [
    'data:',
    'data: ',
    'data:  ',
    'data',
    'event:',
    'event: ',
    'event',
    'id: ',
    'retry: ',
    ':',
    ': ',
    'database:',
  ]
  const values = [
    '',
    ' ',
    'one',
    '{"a": "b: c"}',
    '[DONE] ',
    'é汉🙂',
    '\uFEFF',
    'data: x',
    'error',
    'ping',
    '\0',
    '\u2028',
  ]
  const fragments = [Buffer.of(0xff), Buffer.of(0xe6, 0xb1), Buffer.of(0xf0, 0x9f, 0x99), Buffer.of(0x80)]

  /** Returns a seeded generator. @repo/testing has one, but depends on this package. */
  function createRandom(seed: number): () => number {
    let state = seed
    return () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0 // Numerical Recipes
      return state / 2 ** 32
    }
  }

  /** Returns the bytes of a stream, mostly well-formed lines. No line begins with what only our parser reads. */
  function writeStream(random: () => number): Buffer {
    const pick = <T>(list: T[]) => list[Math.floor(random() * list.length)] as T
    const line = () => [pick(fields), pick(values), ...(random() < 0.1 ? [pick(fragments)] : []), pick(breaks)]
    const start = random() < 0.2 ? ['\uFEFF'] : []
    const lines = Array.from({ length: 1 + Math.floor(random() * 12) }, line).flat()
    return Buffer.concat([...start, ...lines].map((piece) => Buffer.from(piece)))
  }

  function cut(bytes: Buffer, random: () => number): Buffer[] {
    const pieces: Buffer[] = []
    for (let start = 0; start < bytes.length; start += pieces.at(-1)?.length ?? 1)
      pieces.push(bytes.subarray(start, start + 1 + Math.floor(random() * 12)))
    return pieces
  }

  /** Returns the events that the reference reads. We also return a last event without a blank line. */
  function readReference(bytes: Buffer): SseEvent[] {
    const events: SseEvent[] = []
    const parser = createParser({ onEvent: ({ event = '', data }) => void events.push({ name: event, data }) })
    parser.feed(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes))
    parser.feed('\n\n')
    return events
  }

  it('are read as eventsource-parser reads them, wherever they are cut', () => {
    let count = 0
    const random = createRandom(20)
    for (let run = 0; run < 10_000; run += 1) {
      const bytes = writeStream(random)
      const parser = createSseParser()
      const events = [...cut(bytes, random).flatMap(parser.push), ...parser.end()]
      expect(events, `run ${run}: ${JSON.stringify(bytes.toString())}`).toEqual(readReference(bytes))
      count += events.length
    }
    expect(count).toBeGreaterThan(10_000)
  })
})
