import { connect, documents, sql } from '@repo/db'
import { createLlm } from '@repo/llm'
import { createTestModels } from '@repo/testing/test-models'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { testApp } from '../testing.ts'

const { app, alice, test, work, listen, close } = await testApp({ environment: { MAX_UPLOAD_MB: '2' } })
afterAll(close)
const origin = await listen()

const url = '/documents'
const add = (payload: object) => app.inject({ method: 'POST', url, headers: alice, payload })
const get = async (path: string) => (await app.inject({ url: path, headers: alice })).json()
const remove = (id: string) => app.inject({ method: 'DELETE', url: `/documents/${id}`, headers: alice })

describe('a document', () => {
  it('is accepted with 202 and queued, then ready, listed, read, found and deleted', async () => {
    const response = await add({ title: 'Lighthouse', text: 'The lighthouse keeper feeds the gulls.' })
    expect(response.statusCode).toBe(202)
    const queued = response.json()
    expect(queued).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      externalId: null,
      title: 'Lighthouse',
      metadata: {},
      status: 'queued',
      progress: 0,
      warnings: [],
      error: null,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      shared: false,
    })
    expect(await get(`/documents/${queued.id}`)).toEqual(queued)
    expect((await get('/search?q=lighthouse')).items).toEqual([])

    await work()
    const document = { ...queued, status: 'ready', progress: 1 }
    expect(await get(`/documents/${document.id}`)).toEqual(document)
    expect((await get('/documents')).items).toContainEqual(document)
    expect((await get('/search?q=lighthouse')).items).toMatchObject([{ documentId: document.id }])

    const removed = await remove(document.id)
    expect([removed.statusCode, removed.body]).toEqual([204, ''])
    expect(await get(`/documents/${document.id}`)).toMatchObject({ status: 404, code: 'document_not_found' })
    expect((await get('/search?q=lighthouse')).items).toEqual([])
    expect((await remove(document.id)).statusCode).toBe(404)
  })

  it('returns its text, or the part that a source refers to', async () => {
    const text = 'The tide turns. It comes back.'
    const { id } = (await add({ title: 'Tides', text })).json()
    await work()
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

  it('is created once when the same content is posted twice, even concurrently', async () => {
    const payload = { title: 'Twice', text: 'Everything is said twice.' }
    const responses = await Promise.all([add(payload), add(payload), add(payload)])
    expect(new Set(responses.map((response) => response.json().id)).size).toBe(1)
    await work()
    expect((await add(payload)).json()).toMatchObject({ id: responses[0]?.json().id, status: 'ready' })
    await work()
    expect((await get('/search?q=twice&k=50')).items).toHaveLength(1)
  })

  it('replaces the one with the same externalId, which is found until then', async () => {
    const version = (title: string, text: string) => ({ title, text, externalId: 'menu' })
    const { id } = (await add(version('Menu', 'Today there is goulash.'))).json()
    await work()
    const renewed = (await add(version('Menu, new', 'Today there is ratatouille.'))).json()
    expect(renewed).toMatchObject({ id, externalId: 'menu', status: 'queued' })
    const find = async (word: string) => (await get(`/search?q=${word}&k=1`)).items[0]
    expect(await find('goulash')).toMatchObject({ documentId: id, title: 'Menu' })
    await work()
    expect(await find('ratatouille')).toMatchObject({ documentId: id, title: 'Menu, new' })
    expect(
      (await get('/search?q=goulash')).items.filter((item: { documentId: string }) => item.documentId === id),
    ).toEqual([expect.objectContaining({ text: 'Today there is ratatouille.' })])
  })

  it('is not restored by the worker when it was deleted from the queue', async () => {
    const { id } = (await add({ title: 'Gone', text: 'Never mind the zeppelin.' })).json()
    expect((await remove(id)).statusCode).toBe(204)
    await work()
    expect(await get(`/documents/${id}`)).toMatchObject({ status: 404 })
    expect((await get('/search?q=zeppelin&k=1')).items[0]?.documentId).not.toBe(id)
  })

  it('is not stored when its job cannot be stored', async () => {
    const direct = connect({ url: test.databaseUrl, poolSize: 1 })
    await direct.db.execute(sql`alter table pgboss.job rename to hidden`)
    const before = (await get('/documents?limit=100')).items.length
    const answer = await add({ title: 'Half', text: 'A document without a job.' })
    await direct.db.execute(sql`alter table pgboss.hidden rename to job`)
    await direct.close()
    expect(answer.json()).toMatchObject({ status: 500, code: 'internal_error' })
    expect((await get('/documents?limit=100')).items).toHaveLength(before)
  })

  it('keeps its text, except characters that Postgres cannot store', async () => {
    const { id } = (await add({ title: 'A\0B', text: 'zero \0 and half \ud83c a pair' })).json()
    await work()
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
    ['a text that is not a string', { title: 'a', text: ['a'] }, '/text'],
  ])('400 for %s, with the path of the error', async (_, payload, path) => {
    const problem = (await add(payload)).json()
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request', errors: [{ path }] })
    expect(problem.detail).toMatch(new RegExp(`^${path}: .{5,}`))
  })
})

const Created = z.looseObject({ id: z.string() })

describe('a file', () => {
  const post = (parts: Record<string, string | File>) => {
    const body = new FormData()
    for (const [name, part] of Object.entries(parts)) body.append(name, part)
    return fetch(origin + url, { method: 'POST', headers: alice, body })
  }

  it('is accepted with 202, under its own or another name, and is created once when posted twice', async () => {
    const file = new File(['# Gezeiten\n\nDas Wasser steigt.'], 'Führer 潮.md', { type: 'application/pdf' })
    const response = await post({ file })
    expect(response.status).toBe(202)
    const document = Created.parse(await response.json())
    expect(document).toMatchObject({ title: 'Führer 潮.md', externalId: null, status: 'queued' })
    expect(await (await post({ file })).json()).toEqual(document)
    const named = Created.parse(
      await (await post({ title: 'Führer', externalId: 'a/b', metadata: '{"team":"ops"}', file })).json(),
    )
    expect(named).toMatchObject({ title: 'Führer', externalId: 'a/b', metadata: { team: 'ops' } })
    expect(named.id).not.toBe(document.id)
    await work()
    expect((await get('/search?q=Wasser&k=1')).items).toMatchObject([{ text: 'Das Wasser steigt.' }])
  })

  const text = new File(['A text.'], 'a.txt')
  it.each([
    ['no file', { title: 'a' }, 400, 'invalid_request', /file.*Send one/],
    ['an empty file', { file: new File([], 'a.txt') }, 400, 'invalid_request', /file.*empty/],
    ['an empty title', { title: ' ', file: text }, 400, 'invalid_request', /^\/title: .*empty/],
    ['invalid JSON metadata', { metadata: 'ops', file: text }, 400, 'invalid_request', /^\/metadata: .*JSON object/],
    ['two files', { file: text, other: text }, 413, 'too_many_parts', /one file/],
    [
      'an image',
      { file: new File([Buffer.from('89504e470d0a1a0a00', 'hex')], 'a.pdf') },
      415,
      'unsupported_file',
      /PDF/,
    ],
    [
      'a file that is too large',
      { file: new File(['a'.repeat(2_500_000)], 'a.txt') },
      413,
      'document_too_large',
      /2 MB/,
    ],
  ])('%s: a problem that says what to do', async (_, parts: Record<string, string | File>, status, code, detail) => {
    const response = await post(parts)
    expect(response.headers.get('content-type')).toContain('application/problem+json')
    expect(await response.json()).toMatchObject({ status, code, detail: expect.stringMatching(detail) })
    expect(response.status).toBe(status)
  })
})

describe('the list', () => {
  it('starts with the newest, and contains every document once across its pages', async () => {
    for (const title of ['First', 'Second', 'Third']) await add({ title, text: 'A page of a list.' })
    const first = await get('/documents?limit=2')
    expect(first.items).toMatchObject([{ title: 'Third' }, { title: 'Second' }])
    const second = await get(`/documents?limit=2&after=${first.next}`)
    expect(second.items[0]).toMatchObject({ title: 'First' })
    expect((await get('/documents?limit=100')).next).toBeNull()
  })

  it('400 for a cursor of the conversations', async () => {
    const after = Buffer.from(JSON.stringify(['2026-01-01T00:00:00Z', 'a-conversation'])).toString('base64url')
    expect(await get(`/documents?after=${after}`)).toMatchObject({ status: 400, code: 'invalid_cursor' })
  })
})

describe('while the embedding model is down', async () => {
  const options = { beforeCall: () => {}, firstByteTimeoutMs: 5000, idleTimeoutMs: 5000 }
  const fallback = createTestModels()
  const unreachable = { baseUrl: 'http://127.0.0.1:9', embeddingModel: fallback.embedder.name }
  const llm = createLlm({ ...options, ...unreachable, fallback })
  const { app, alice, store, work, close } = await testApp({ llm })
  afterAll(close)

  it('a document stays queued with the reason, and posting it again after it failed makes it ready', async () => {
    const post = () =>
      app.inject({ method: 'POST', url, headers: alice, payload: { title: 'Later', text: 'Found later.' } })
    const { id } = (await post()).json()
    const read = async () => (await app.inject({ url: `/documents/${id}`, headers: alice })).json()
    await work()
    expect(await read()).toMatchObject({ status: 'queued', error: expect.stringContaining('model') })
    const owner = await store.owners.ensure('alice')
    const [version = ''] = (await app.db.select({ version: documents.version }).from(documents)).map(
      (row) => row.version,
    )
    await store.documents.fail(owner, { id, version }, 'given up')
    expect(await read()).toMatchObject({ status: 'failed', error: expect.stringContaining('model') })

    llm.embedder = fallback.embedder
    expect((await post()).json()).toMatchObject({ id, status: 'queued', error: null })
    await work()
    expect(await read()).toMatchObject({ status: 'ready', error: null })
    expect((await app.inject({ url: '/search?q=later', headers: alice })).json().items).toMatchObject([
      { documentId: id },
    ])
  })
})
