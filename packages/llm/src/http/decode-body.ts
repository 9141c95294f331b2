import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { pipeline, type Readable } from 'node:stream'
import zlib from 'node:zlib'
import { LlmError } from '../llm.ts'

const { Z_SYNC_FLUSH: finishFlush, BROTLI_OPERATION_FLUSH } = zlib.constants // as browsers do: a missing trailer is no error

const decoders: Record<string, (response: IncomingMessage) => Promise<zlib.Unzip | zlib.BrotliDecompress>> = {
  gzip: async () => zlib.createGunzip({ finishFlush }),
  'x-gzip': async () => zlib.createGunzip({ finishFlush }),
  br: async () => zlib.createBrotliDecompress({ finishFlush: BROTLI_OPERATION_FLUSH }),
  deflate: async (response) =>
    (await hasZlibHeader(response)) ? zlib.createInflate({ finishFlush }) : zlib.createInflateRaw({ finishFlush }),
}

/**
 * Returns the decoded body of a response. Servers behind some proxies compress it although we do not ask for it. Throws
 * an `LlmError` (`model_protocol`) for another encoding.
 */
export async function decodeBody(response: IncomingMessage): Promise<Readable> {
  const encoding = response.headers['content-encoding']?.trim().toLowerCase() || 'identity'
  if (encoding === 'identity') return response
  const decoder = await decoders[encoding]?.(response)
  if (!decoder)
    throw new LlmError('model_protocol', 'the model server sent a response in an unsupported content encoding')
  return pipeline(response, decoder, () => {}) // the reader sees the error on the decoder
}

/** RFC 9110, 8.4.1.2: some servers send `deflate` without the zlib header. */
async function hasZlibHeader(response: IncomingMessage): Promise<boolean> {
  await once(response, 'readable')
  const first: Buffer | null = response.read(1)
  if (first) response.unshift(first)
  return first !== null && ((first[0] ?? 0) & 0x0f) === 0x08
}
