import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { connect, partSize, sql } from '@repo/db'
import { makeArchive } from '@repo/testing/files'
import { closeLater, openSocket, parseResponses, readToEnd } from '@repo/testing/sockets'
import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'

const maxBytes = 2 * 1024 * 1024
const { app, alice, store, listen, close } = await testApp({ environment: { MAX_UPLOAD_MB: '2' } })
afterAll(close)
const origin = await listen()

const excel =
  '<Types><Override ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
const head = '--x\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
const field = (name: string, value: string) =>
  `--x\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
const end = '\r\n--x--\r\n'

/** Posts a form unchanged, without a length. */
async function post(...chunks: (string | Buffer)[]) {
  const headers = { ...alice, 'content-type': 'multipart/form-data; boundary=x' }
  return (await app.inject({ method: 'POST', url: '/documents', headers, payload: Readable.from(chunks) })).json()
}

async function countRows() {
  const [row] = await app.db.execute<{ uploads: number; parts: number; documents: number }>(sql`
    select (select count(*)::int from uploads) as uploads, (select count(*)::int from upload_parts) as parts,
      (select count(*)::int from documents) as documents`)
  return row
}

describe('a form', () => {
  const bytes = Buffer.from('The tide turns. '.repeat(10_000))

  it('creates the same document for any order of fields, and ignores unknown fields', async () => {
    const fields = [field('title', 'Tides'), field('externalId', 'tides')]
    const before = await post(...fields, head, bytes, end)
    expect(before).toMatchObject({ title: 'Tides', externalId: 'tides', status: 'queued' })
    const rows = await countRows()
    expect(rows).toEqual({ uploads: 1, parts: Math.ceil(bytes.length / partSize), documents: 1 })
    const after = await post(head, bytes, '\r\n', field('colour', 'blue'), ...fields, '--x--\r\n')
    expect(after).toEqual(before)
    expect(await countRows()).toEqual(rows)
  })

  it('may contain a file of exactly the size limit', async () => {
    expect(await post(field('externalId', 'limit'), head, Buffer.alloc(maxBytes, 'a'), end)).toMatchObject({
      status: 'queued',
    })
  })
})

describe('the type of a file', () => {
  const named = (name: string) => head.replace('a.txt', name)
  const readStored = async (id: string) => {
    const [row] = await app.db.execute<{ type: string }>(
      sql`select media_type as type from uploads where document_id = ${id}`,
    )
    return row?.type
  }

  it.each([
    ['tides.csv', 'Port;High\nBrest;12:00', 'text/csv'],
    ['tides.ipynb', '{"cells": []}', 'application/x-ipynb+json'],
    ['pdf.md', 'A PDF begins with `%PDF-1.7`.', 'text/plain'],
  ])('of %s is stored for the worker', async (name, content, type) => {
    const { id } = await post(named(name), content, end)
    expect(await readStored(id)).toBe(type)
  })

  it('is named when it is not supported, with what to do', async () => {
    const response = await post(named('tides.docx'), '{\\rtf1 Tides}', end)
    expect(response.detail).toBe('RTF files (.rtf) are not supported. Save it as .docx or PDF.')
  })

  it('may be any that the external extractor reads', async () => {
    const { app, alice, close } = await testApp({ environment: { EXTRACTOR_URL: 'http://127.0.0.1:9/tika' } })
    onTestFinished(close)
    const headers = { ...alice, 'content-type': 'multipart/form-data; boundary=x' }
    const upload = async (content: string) =>
      (await app.inject({ method: 'POST', url: '/documents', headers, payload: `${head}${content}${end}` })).statusCode
    expect([await upload('{\\rtf1 Tides}'), await upload('{"tides": 1}')]).toEqual([202, 415])
  })
})

describe('a rejected form leaves nothing behind', () => {
  const text = Buffer.alloc(4 * partSize, 'a')
  it.each([
    ['no file', [field('title', 'a'), '--x--\r\n'], 400, 'invalid_request'],
    ['an empty file', [head, end], 400, 'invalid_request'],
    ['an empty title after the file', [head, text, '\r\n', field('title', ' '), '--x--\r\n'], 400, 'invalid_request'],
    ['two files', [head, text, '\r\n', head, text, end], 413, 'too_many_parts'],
    ['a truncated file', [head, text], 400, 'invalid_body'],
    ['a file one byte over the limit', [head, Buffer.alloc(maxBytes + 1, 'a'), end], 413, 'document_too_large'],
    [
      'a file whose second chunk exceeds the limit',
      [head, Buffer.alloc(maxBytes, 'a'), 'more', end],
      413,
      'document_too_large',
    ],
    ['an image', [head, Buffer.from('89504e470d0a1a0a00', 'hex'), text, end], 415, 'unsupported_file'],
    ['RTF', [head, '{\\rtf1\\ansi Tides}', end], 415, 'unsupported_file'],
    ['JSON', [head, '{"tides": [12, 18]}', end], 415, 'unsupported_file'],
    [
      'an Excel file',
      [head, makeArchive({ '[Content_Types].xml': excel, 'xl/workbook.xml': text.toString() }), end],
      415,
      'unsupported_file',
    ],
    ['a text that ends in binary data', [head, text, '\0', end], 415, 'unsupported_file'],
  ])('%s', async (_, chunks, status, code) => {
    const before = await countRows()
    expect(await post(...chunks)).toMatchObject({ status, code })
    expect(await countRows()).toEqual(before)
  })

  it('a client that disconnects in the middle', async () => {
    const before = await countRows()
    const socket = await openSocket(origin)
    const lines = ['POST /documents HTTP/1.1', 'host: a', `authorization: ${alice.authorization}`]
    socket.write(
      [...lines, 'content-type: multipart/form-data; boundary=x', 'content-length: 900000', '', head].join('\r\n'),
    )
    socket.write(Buffer.alloc(3 * partSize, 'a'))
    await expect.poll(countRows).toMatchObject({ uploads: (before?.uploads ?? 0) + 1 })
    socket.destroy()
    await expect.poll(countRows).toEqual(before)
  })

  it('a length beyond the limit is rejected before anything is read', async () => {
    const socket = closeLater(await openSocket(origin))
    const lines = ['POST /documents HTTP/1.1', 'host: a', `authorization: ${alice.authorization}`]
    socket.write(
      [...lines, 'content-type: multipart/form-data; boundary=x', `content-length: ${4 * maxBytes}`, '', ''].join(
        '\r\n',
      ),
    )
    await once(socket, 'readable')
    socket.end()
    const [response] = parseResponses(await readToEnd(socket, 15_000))
    expect(JSON.parse(response?.body ?? '')).toMatchObject({ status: 413, detail: expect.stringContaining('2 MB') })
  })
})

it('an upload reads from its client only as fast as it stores', async () => {
  const gate = await openTcpProxy()
  const { app, alice, test, listen, close } = await testApp({ gate, environment: { DATABASE_POOL_SIZE: '1' } })
  onTestFinished(async () => {
    await close()
    await gate.shut()
  })
  const accepted = once(app.server, 'connection')
  const socket = closeLater(await openSocket(await listen()))
  const [peer] = await accepted
  const lines = ['POST /documents HTTP/1.1', 'host: a', `authorization: ${alice.authorization}`]
  socket.write(
    [...lines, 'content-type: multipart/form-data; boundary=x', 'content-length: 50000000', '', head].join('\r\n'),
  )
  socket.write(Buffer.alloc(40_000_000, 'a'))
  const direct = connect({ url: test.databaseUrl, poolSize: 1 })
  const readStored = async () =>
    Number((await direct.db.execute(sql`select sum(size)::int as size from uploads`))[0]?.size)
  await expect.poll(readStored).toBeGreaterThan(4 * partSize)
  gate.stall()
  const seen: number[] = []
  const isStill = async () => {
    seen.push((await readStored()) + peer.bytesRead)
    return seen.length > 5 && seen.at(-1) === seen.at(-5)
  }
  await expect.poll(isStill, { interval: 100 }).toBe(true)
  // One part being stored, one being collected, and the buffers of the parser and the sockets.
  expect(peer.bytesRead - (await readStored())).toBeLessThan(4 * partSize)
  await direct.close()
})

it('an owner’s running upload survives the sweep of abandoned uploads', async () => {
  const owner = await store.owners.ensure('alice')
  const id = '00000000-0000-4000-8000-000000000009'
  await store.uploads.open(owner, { id, title: 'a', mediaType: 'text/plain' })
  expect(await store.uploads.sweep(60_000)).toBe(0)
  expect(await store.uploads.addPart(owner, id, 0, randomBytes(10))).toBe(true)
  await store.uploads.discard(owner, id)
})
