import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { connect } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { DocumentError } from '@repo/rag'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createExtract, extract } from './extract.ts'

const limit = { timeMs: 20_000, memoryMb: 1024, textLength: 100_000 }
const rtf = () => ({
  mediaType: 'application/rtf',
  size: 12,
  parts: Readable.from([Buffer.from('{\\rtf1 '), Buffer.from('Tide}')]),
})

type Respond = (request: IncomingMessage, response: ServerResponse) => unknown
const plain = { 'content-type': 'text/plain;charset=utf-8' }

/** Starts a server with the API of Apache Tika: https://cwiki.apache.org/confluence/display/TIKA/TikaServer. */
async function startTika(respond: Respond) {
  const server = createServer(async (request, response) => {
    if (request.method !== 'PUT' || request.url !== '/tika') return response.writeHead(404).end()
    if (request.headers.accept !== 'text/plain') return response.writeHead(406).end()
    await respond(request, response)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/tika`
}

const answer =
  (status: number, headers: Record<string, string>, body = ''): Respond =>
  async (request, response) => {
    await text(request)
    response.writeHead(status, headers).end(body)
  }

describe('an external extractor', () => {
  it('receives the bytes of a type that we do not read, and returns its text', async () => {
    const url = await startTika(async (request, response) => {
      expect(request.headers['content-type']).toBe('application/octet-stream')
      expect(await text(request)).toBe('{\\rtf1 Tide}')
      response.writeHead(200, plain).end('Tide 潮\n')
    })
    expect(await createExtract(url)(rtf())).toEqual({ text: 'Tide 潮\n', warnings: [] })
  })

  it('receives nothing that we read ourselves', async () => {
    const file = { mediaType: 'text/plain', size: 4, parts: Readable.from([Buffer.from('Tide')]) }
    expect(await createExtract('http://127.0.0.1:9/tika')(file)).toEqual({ text: 'Tide', warnings: [] })
  })

  it.each([
    ['a type that it does not know', 415, plain, ''],
    ['a password', 422, plain, ''],
    ['no text', 204, {}, ''],
    ['only blanks', 200, plain, '\n \n'],
    ['too much text', 200, plain, 'a'.repeat(limit.textLength + 1)],
  ])('fails the document for %s', async (_, status, headers, body) => {
    const url = await startTika(answer(status, headers as Record<string, string>, body))
    await expect(extract(rtf(), undefined, limit, url)).rejects.toBeInstanceOf(DocumentError)
  })

  it.each([
    ['is overloaded', 503, plain, 'busy'],
    ['is another server', 200, { 'content-type': 'text/html' }, '<html>'],
    ['has moved', 302, { location: '/' }, ''],
  ])('that %s makes the job fail, so that it is retried', async (_, status, headers, body) => {
    const url = await startTika(answer(status, headers as Record<string, string>, body))
    const error = await extract(rtf(), undefined, limit, url).catch((reason) => reason)
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(DocumentError)
  })

  it('is not read beyond the longest text', async () => {
    let closed: Promise<unknown> | undefined
    const url = await startTika(async (request, response) => {
      await text(request)
      closed = once(response, 'close')
      response.writeHead(200, plain)
      const timer = setInterval(() => response.write('a'.repeat(10_000)), 1)
      response.on('close', () => clearInterval(timer))
    })
    await expect(extract(rtf(), undefined, limit, url)).rejects.toThrow('more than 100000 characters')
    await closed
  })

  it('is abandoned after the time limit, and when the worker stops', async () => {
    const closed: Promise<unknown>[] = []
    const url = await startTika((_, response) => closed.push(once(response, 'close')))
    await expect(extract(rtf(), undefined, { ...limit, timeMs: 200 }, url)).rejects.toThrow('takes longer than 0.2 s')
    const stopping = new AbortController()
    const reading = extract(rtf(), stopping.signal, limit, url)
    await expect.poll(() => closed.length).toBe(2)
    stopping.abort(new Error('stopped'))
    await expect(reading).rejects.toThrow('stopped')
    await Promise.all(closed)
  })

  it('that stops reading the file is not waited for', async () => {
    const url = await startTika((_, response) => response.writeHead(415, plain).end())
    const parts = Readable.from(
      (function* () {
        for (let n = 0; n < 400; n += 1) yield Buffer.alloc(256 * 1024)
      })(),
    )
    await expect(extract({ ...rtf(), parts }, undefined, limit, url)).rejects.toThrow(
      /extractor cannot read|fetch failed/,
    )
    await expect.poll(() => parts.destroyed).toBe(true)
  })

  it('is never called while a database connection is held', async () => {
    const test = await createTestDatabase()
    const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
    onTestFinished(async () => {
      await close()
      await test.drop()
    })
    const url = await startTika(answer(200, plain, 'Tide'))
    await expect(db.transaction(() => extract(rtf(), undefined, limit, url))).rejects.toMatchObject({
      code: 'connection_held',
    })
  })
})
