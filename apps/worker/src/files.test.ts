import { setTimeout as sleep } from 'node:timers/promises'
import { testApp } from '@repo/api/testing'
import { startProgram, until } from '@repo/api/testing-processes'
import { documents, eq } from '@repo/db'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { makeDocx, makePdf, makePdfBomb } from './testing-files.ts'

// Posted to the API, read by a worker, found by the API: three real processes' worth, in two.

const pdfBomb = makePdfBomb(1500) // seconds of work, in which the API of this process would be too busy to answer
const { app, test, alice, listen, close } = await testApp()
afterAll(close)
const origin = await listen()
startProgram('../../worker/src/worker.ts', { DATABASE_URL: test.databaseUrl })

const get = async (path: string) => (await app.inject({ url: path, headers: alice })).json()

async function post(name: string, bytes: Buffer | string) {
  const body = new FormData()
  body.append('file', new File([new Uint8Array(Buffer.from(bytes))], name))
  const response = await fetch(`${origin}/documents`, { method: 'POST', headers: alice, body })
  return z.object({ id: z.string() }).parse(await response.json()).id
}

const untilDone = (id: string) =>
  until(async () => {
    const document = await get(`/documents/${id}`)
    return ['ready', 'failed'].includes(document.status) && document
  })

async function cite(question: string) {
  const payload = { message: question }
  const { body } = await app.inject({ method: 'POST', url: '/chat', headers: alice, payload })
  const sources = [...body.matchAll(/^data: (\{"type":"source-document".*\})$/gm)].map(([, part = '']) =>
    JSON.parse(part),
  )
  return sources[0]?.providerMetadata.sluice
}

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
    ['port.pdf', makePdf(['Cover.', 'The breakwater is old.', 'Back.']), 'breakwater', 2],
  ])('%s is found, and its citation leads back to the place', async (name, bytes, word, page) => {
    const id = await post(name, bytes)
    expect(await untilDone(id)).toMatchObject({ title: name, status: 'ready', error: null })
    const source = await cite(`What is said of the ${word}?`)
    expect(source).toMatchObject({ documentId: id, ...(page && { page }) })
    const [stored] = await app.db.select({ text: documents.text }).from(documents).where(eq(documents.id, id))
    expect(stored?.text.slice(source.start, source.end)).toContain(word)
  })

  it('that is a bomb fails alone: those beside it become ready, and the worker goes on', async () => {
    const bomb = await post('bomb.pdf', pdfBomb)
    await sleep(200)
    const beside = await post('beside.txt', 'Quiet beside the bomb.')
    expect(await untilDone(beside)).toMatchObject({ status: 'ready' })
    expect(await untilDone(bomb)).toMatchObject({ status: 'failed', error: expect.stringMatching(/memory|longer/) })
    const after = await post('after.txt', 'Quiet after the bomb.')
    expect(await untilDone(after)).toMatchObject({ status: 'ready' })
  })

  it('with a password fails with a reason that a person understands', async () => {
    const id = await post('secret.pdf', makePdf(['Secret.'], { encrypted: true }))
    expect(await untilDone(id)).toMatchObject({ status: 'failed', error: expect.stringContaining('password') })
  })
})
