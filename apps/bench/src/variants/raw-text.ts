import type { IncomingMessage } from 'node:http'

// Bodies are read and written as Latin-1, a character a byte: to slice and to join them costs no decoding.

/** A request's or a response's body, a character a byte. */
export function readBytes(message: IncomingMessage): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let bytes = ''
  message
    .on('data', (chunk: Buffer) => {
      bytes += chunk.toString('latin1')
    })
    .on('end', () => resolve(bytes))
    .on('error', reject)
  return promise
}

/** The text of UTF-8 bytes, a character each. */
export function toText(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString()
}

/** The UTF-8 bytes of a text, a character each. */
export function toBytes(text: string): string {
  return Buffer.from(text).toString('latin1')
}
