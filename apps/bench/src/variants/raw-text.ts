import type { IncomingMessage } from 'node:http'

// Bodies are read and written as latin1, one character per byte, so slicing and joining need no decoding.

/** Reads the body of a request or response as latin1. */
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

/** Decodes UTF-8 bytes that are given as latin1. */
export function toText(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString()
}

/** Returns the UTF-8 bytes of a text as latin1. */
export function toBytes(text: string): string {
  return Buffer.from(text).toString('latin1')
}
