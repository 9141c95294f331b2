import { describe, expect, it } from 'vitest'
import { createResponseReader } from './response-reader.ts'

/** Returns the responses read from a connection's bytes in pieces of `size`. */
function readAll(bytes: string, size = bytes.length) {
  const responses: { status: number; body: string; canReuse?: boolean }[] = []
  const read = createResponseReader({
    onHead: (status) => responses.push({ status, body: '' }),
    onBody: (text, from, to) => {
      const last = responses.at(-1)
      if (last) last.body += text.slice(from, to)
    },
    onEnd: (canReuse) => Object.assign(responses.at(-1) ?? {}, { canReuse }),
  })
  for (let at = 0; at < bytes.length; at += size) read(bytes.slice(at, at + size))
  read(undefined)
  return responses
}

const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n\r\n\r\n\r\n!\r\n0\r\n\r\n'
const sized = 'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy'

describe('responses on one connection', () => {
  it('are read one after the other, however the bytes are split', () => {
    for (const size of [1, 2, 3, 50, 1000]) {
      expect(readAll(chunked + chunked + sized, size)).toEqual([
        { status: 200, body: 'hello\r\n\r\n\r\n!', canReuse: true },
        { status: 200, body: 'hello\r\n\r\n\r\n!', canReuse: true },
        { status: 503, body: 'busy', canReuse: false },
      ])
    }
  })

  it('are complete only with their last byte', () => {
    expect(readAll(chunked.slice(0, -1))[0]).not.toHaveProperty('canReuse')
    expect(readAll(sized.slice(0, -1))[0]).not.toHaveProperty('canReuse')
  })

  it('may be empty', () => {
    expect(readAll('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')).toEqual([{ status: 200, body: '', canReuse: true }])
  })

  it('last until the connection closes if they have no length', () => {
    expect(readAll('HTTP/1.0 200 OK\r\n\r\nhello')).toEqual([{ status: 200, body: 'hello', canReuse: false }])
  })

  it('are rejected if they are not HTTP, or a chunk is longer than its size', () => {
    expect(() => readAll('220 smtp ready\r\n\r\n')).toThrow('not an HTTP/1 response')
    expect(() => readAll(chunked.replace('hello', 'helloo'))).toThrow('chunk longer than its size')
  })
})
