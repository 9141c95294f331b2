import { createLlm } from '@repo/llm'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const { app, alice, close } = await testApp()
afterAll(close)

const url = '/documents'
const add = (payload: object) => app.inject({ method: 'POST', url, headers: alice, payload })
const get = async (path: string) => (await app.inject({ url: path, headers: alice })).json()
const remove = (id: string) => app.inject({ method: 'DELETE', url: `/documents/${id}`, headers: alice })

describe('a document', () => {
  it('is accepted with 202, listed, read, found and deleted', async () => {
    const response = await add({ title: 'Lighthouse', text: 'The lighthouse keeper feeds the gulls.' })
    expect(response.statusCode).toBe(202)
    const document = response.json()
    expect(document).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      title: 'Lighthouse',
      status: 'ready',
      error: null,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    })
    expect(await get(`/documents/${document.id}`)).toEqual(document)
    expect((await get('/documents')).items).toContainEqual(document)
    expect((await get('/search?q=lighthouse')).items).toMatchObject([{ documentId: document.id }])

    const removed = await remove(document.id)
    expect([removed.statusCode, removed.body]).toEqual([204, ''])
    expect(await get(`/documents/${document.id}`)).toMatchObject({ status: 404, code: 'document_not_found' })
    expect((await get('/search?q=lighthouse')).items).toEqual([])
    expect((await remove(document.id)).statusCode).toBe(404)
  })

  it('gives its text, or a part of it as a source names it', async () => {
    const text = 'The tide turns. It comes back.'
    const { id } = (await add({ title: 'Tides', text })).json()
    expect(await get(`/documents/${id}/text`)).toEqual({ id, title: 'Tides', text, start: 0, end: 30, length: 30 })
    expect(await get(`/documents/${id}/text?start=4&end=8`)).toMatchObject({
      text: 'tide',
      start: 4,
      end: 8,
      length: 30,
    })
    expect(await get(`/documents/${id}/text?start=16&end=99`)).toMatchObject({ text: 'It comes back.', end: 30 })
    expect(await get(`/documents/${id}/text?start=-1`)).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(await get('/documents/nonsense/text')).toMatchObject({ status: 404, code: 'document_not_found' })
    await remove(id)
  })

  it('is one document when the same content is posted twice, also at once', async () => {
    const payload = { title: 'Twice', text: 'Everything is said twice.' }
    const responses = await Promise.all([add(payload), add(payload), add(payload)])
    expect(new Set(responses.map((response) => response.json().id)).size).toBe(1)
    expect((await get('/search?q=twice&k=50')).items).toHaveLength(1)
  })

  it('keeps its text, but for what Postgres cannot hold', async () => {
    const { id } = (await add({ title: 'A\0B', text: 'zero \0 and half \ud83c a pair' })).json()
    expect(await get(`/documents/${id}`)).toMatchObject({ title: 'A\ufffdB', status: 'ready' })
    expect((await get('/search?q=half+a+pair&k=1')).items).toMatchObject([
      { text: 'zero \ufffd and half \ufffd a pair' },
    ])
  })

  it.each(['nonsense', '00000000-0000-4000-8000-000000000000', '%00'])('404 for the id %s', async (id) => {
    expect(await get(`/documents/${id}`)).toMatchObject({ status: 404, code: 'document_not_found' })
    expect((await remove(id)).json()).toMatchObject({ status: 404, code: 'document_not_found' })
  })

  it('413 for a text that is too long', async () => {
    const response = await add({ title: 'a', text: 'a'.repeat(2_000_001) })
    expect(response.json()).toMatchObject({ status: 413, code: 'document_too_large' })
  })

  it.each([
    ['no title', { text: 'a' }, '/title'],
    ['an empty title', { title: ' ', text: 'a' }, '/title'],
    ['a title that is too long', { title: 'a'.repeat(501), text: 'a' }, '/title'],
    ['no text', { title: 'a' }, '/text'],
    ['an empty text', { title: 'a', text: '\n' }, '/text'],
    ['a text that is none', { title: 'a', text: ['a'] }, '/text'],
  ])('400 for %s, and the path of what is wrong', async (_, payload, path) => {
    const problem = (await add(payload)).json()
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request', errors: [{ path }] })
    expect(problem.detail).toMatch(new RegExp(`^${path}: .{5,}`))
  })
})

describe('the list', () => {
  it('has the newest first, and every document once over its pages', async () => {
    for (const title of ['First', 'Second', 'Third']) await add({ title, text: 'A page of a list.' })
    const first = await get('/documents?limit=2')
    expect(first.items).toMatchObject([{ title: 'Third' }, { title: 'Second' }])
    const second = await get(`/documents?limit=2&after=${first.next}`)
    expect(second.items[0]).toMatchObject({ title: 'First' })
    expect((await get('/documents?limit=100')).next).toBeNull()
  })

  it('400 for the cursor of the conversations', async () => {
    const after = Buffer.from(JSON.stringify(['2026-01-01T00:00:00Z', 'a-conversation'])).toString('base64url')
    expect(await get(`/documents?after=${after}`)).toMatchObject({ status: 400, code: 'invalid_cursor' })
  })
})

describe('while the embedder is down', async () => {
  const options = { beforeCall: () => {}, firstByteTimeoutMs: 5000, idleTimeoutMs: 5000 }
  const offline = createLlm({ ...options, baseUrl: 'http://127.0.0.1:9' })
  const broken = createLlm({ ...options, baseUrl: 'http://127.0.0.1:9', embeddingModel: offline.embedder.name })
  const llm = { ...offline, embedder: broken.embedder }
  const { app, alice, close } = await testApp({ llm })
  afterAll(close)

  it('a document is kept as failed with the reason, and posting it again makes it ready', async () => {
    const post = () =>
      app.inject({ method: 'POST', url, headers: alice, payload: { title: 'Later', text: 'Found later.' } })
    const failed = await post()
    expect(failed.statusCode).toBe(202)
    expect(failed.json()).toMatchObject({ status: 'failed', error: expect.stringContaining('model') })
    const { id } = failed.json()
    expect((await app.inject({ url: `/documents/${id}`, headers: alice })).json()).toEqual(failed.json())

    llm.embedder = offline.embedder
    expect((await post()).json()).toMatchObject({ id, status: 'ready', error: null })
    expect((await app.inject({ url: '/search?q=later', headers: alice })).json().items).toMatchObject([
      { documentId: id },
    ])
  })
})
