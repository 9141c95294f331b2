import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTestDatabase } from '@repo/db/testing'
import { makeDocx, makePdf, makePdfBomb } from '@repo/testing/files'
import { languages } from '@repo/testing/languages'
import { startApi, startProgram, until } from '@repo/testing/processes'
import { post as ask } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'

// Files are posted to a real API, processed by a real worker and found through the API.

const pdfBomb = makePdfBomb(1500) // takes seconds to build, so it is done before the API starts
const test = await createTestDatabase()
afterAll(test.drop)

/** An extractor with the API of Apache Tika, which knows one file. */
const tika = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(200, { 'content-type': 'text/plain' }).end('The hawser is wet.'))
})
await once(tika.listen(0, '127.0.0.1'), 'listening')
afterAll(() => void tika.close())
const address = tika.address()
const env = {
  DATABASE_URL: test.databaseUrl,
  EXTRACTOR_URL: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/tika`,
}
const { url: origin } = await startApi(env)
startProgram('apps/worker/dist/worker.js', env)

const Fields = z.looseObject({ status: z.string().optional(), text: z.string().optional() })
const get = async (path: string) => Fields.parse(await (await fetch(`${origin}${path}`)).json())

async function post(name: string, bytes: Buffer | string) {
  const body = new FormData()
  body.append('file', new File([new Uint8Array(Buffer.from(bytes))], name))
  const response = await fetch(`${origin}/documents`, { method: 'POST', body })
  return z.object({ id: z.string() }).parse(await response.json()).id
}

const untilDone = (id: string) =>
  until(async () => {
    const document = await get(`/documents/${id}`)
    return ['ready', 'failed'].includes(document.status ?? '') && document
  })

async function cite(question: string) {
  const body = await (await ask(`${origin}/chat`, {}, { message: question })).text()
  const sources = [...body.matchAll(/^data: (\{"type":"source-document".*\})$/gm)].map(([, part = '']) =>
    JSON.parse(part),
  )
  return sources[0]?.providerMetadata.sluice
}

it('whose pages are partly scanned is ready with a warning, until it is replaced', async () => {
  const send = async (bytes: Buffer | string) => {
    const body = new FormData()
    body.append('externalId', 'scan')
    body.append('file', new File([new Uint8Array(Buffer.from(bytes))], 'scan'))
    const { id } = Fields.parse(await (await fetch(`${origin}/documents`, { method: 'POST', body })).json())
    return untilDone(String(id))
  }
  const warnings = ['No text was found on page 2. If it is scanned, run OCR and upload it again.']
  expect(await send(makePdf(['First.', '']))).toMatchObject({ status: 'ready', warnings })
  expect(await send('All is text now.')).toMatchObject({ status: 'ready', warnings: [] })
})

describe('a posted file', () => {
  it.each([
    ['tide.txt', 'The zenith tide comes in spring.', 'zenith', undefined],
    ['ebb.md', '# Ebb\n\nThe nadir ebb comes in autumn.', 'nadir', undefined],
    [
      'moon.html',
      '<html><body><nav>Home</nav><h1>Moon</h1><p>The perigee is near.</p></body></html>',
      'perigee',
      undefined,
    ],
    ['sun.docx', makeDocx(['# Sun', 'The solstice is long.']), 'solstice', undefined],
    ['quays.csv', 'Quay;Depth\nBollard quay;7 m\n', 'Bollard', undefined],
    ['plan.ipynb', '{"cells": [{"cell_type": "markdown", "source": ["The capstan is new."]}]}', 'capstan', undefined],
    ['crane.txt', Buffer.from(`The derrick is tall. ${languages.German?.text}`, 'latin1'), 'derrick', undefined],
    ['letter.rtf', '{\\rtf1 The hawser is wet.}', 'hawser', undefined],
    ['port.pdf', makePdf(['Cover.', 'The breakwater is old.', 'Back.']), 'breakwater', 2],
  ])('%s is found, and its citation points to the right place', async (name, bytes, word, page) => {
    const id = await post(name, bytes)
    expect(await untilDone(id)).toMatchObject({ title: name, status: 'ready', error: null })
    const source = await cite(`What is said of the ${word}?`)
    expect(source).toMatchObject({ documentId: id, ...(page && { page }) })
    const { text } = await get(`/documents/${id}/text?start=${source.start}&end=${source.end}`)
    expect(text).toContain(word)
  })

  it('that is a decompression bomb fails alone, and the worker continues with other files', async () => {
    const bomb = await post('bomb.pdf', pdfBomb)
    await sleep(200)
    const beside = await post('beside.txt', 'Quiet beside the bomb.')
    expect(await untilDone(beside)).toMatchObject({ status: 'ready' })
    expect(await untilDone(bomb)).toMatchObject({ status: 'failed', error: expect.stringMatching(/memory|longer/) })
    const after = await post('after.txt', 'Quiet after the bomb.')
    expect(await untilDone(after)).toMatchObject({ status: 'ready' })
  })

  it('in an unknown encoding fails with a readable reason', async () => {
    const id = await post('old.txt', Buffer.from('caf\xe9 cr\xe8me', 'latin1'))
    const error = 'Unknown text encoding. Save the file as UTF-8.'
    expect(await untilDone(id)).toMatchObject({ status: 'failed', error })
  })

  it('with a password fails with a readable reason', async () => {
    const id = await post('secret.pdf', makePdf(['Secret.'], { encrypted: true }))
    expect(await untilDone(id)).toMatchObject({ status: 'failed', error: expect.stringContaining('password') })
  })
})
