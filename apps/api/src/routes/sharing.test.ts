import { createKey } from '@repo/db'
import { joinText, readParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

// Carol is the librarian of Acme, Alice another member. Bob belongs to no organization.

const { app, store, alice, bob, work, listen, close } = await testApp()
afterAll(close)
const owner = await store.owners.ensure('alice')
await store.owners.join(owner, 'acme')
const keyFor = async (name: string, organization: string, isLibrarian: boolean) => ({
  authorization: `Bearer ${await createKey(store, name, { organization, isLibrarian })}`,
})
const carol = await keyFor('carol', 'acme', true)
const eve = await keyFor('eve', 'globex', true)

type Headers = typeof alice
const send = async (headers: Headers, method: 'GET' | 'POST' | 'PATCH' | 'DELETE', url: string, payload?: object) => {
  const response = await app.inject({ method, url, headers, ...(payload && { payload }) })
  return { status: response.statusCode, body: response.body ? response.json() : undefined }
}
const post = (headers: Headers, payload: object) => send(headers, 'POST', '/documents', payload)
const search = async (headers: Headers, query: string) =>
  (await send(headers, 'GET', `/search?q=${query}`)).body.items.map(({ title }: { title: string }) => title)
const listTitles = async (headers: Headers) =>
  (await send(headers, 'GET', '/documents')).body.items.map(({ title }: { title: string }) => title)

const handbook = { title: 'Handbook', text: 'The office opens at nine.', externalId: 'handbook', shared: true }
const { id } = (await post(carol, handbook)).body
await post(alice, { title: 'Diary', text: 'The office was closed, and I went home.' })
await work()

it('is readable for the organization and for nobody else', async () => {
  for (const headers of [alice, carol]) {
    expect(await listTitles(headers)).toContain('Handbook')
    expect((await send(headers, 'GET', `/documents/${id}`)).body).toMatchObject({ status: 'ready', shared: true })
    expect((await send(headers, 'GET', `/documents/${id}/text`)).body).toMatchObject({ text: handbook.text })
  }
  expect(await search(alice, 'office')).toEqual(expect.arrayContaining(['Handbook', 'Diary']))
  expect(await search(carol, 'office')).toEqual(['Handbook'])
  for (const headers of [bob, eve]) {
    expect(await listTitles(headers)).toEqual([])
    expect(await search(headers, 'office')).toEqual([])
    for (const url of [`/documents/${id}`, `/documents/${id}/text`])
      expect((await send(headers, 'GET', url)).status).toBe(404)
    expect((await send(headers, 'PATCH', `/documents/${id}`, { shared: false })).status).toBe(404)
    expect((await send(headers, 'DELETE', `/documents/${id}`)).status).toBe(404)
  }
})

it('is what answers are found in, and cited from', async () => {
  const url = await listen()
  const ask = async (headers: Headers) => {
    const body = JSON.stringify({ message: 'When does the office open?' })
    const request = { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body }
    return readParts(await fetch(`${url}/chat`, request))
  }
  const answer = await ask(alice)
  expect(joinText(answer)).toContain('opens at nine')
  const sources = answer.flatMap((part) => (part.type === 'source-document' ? [part.title] : []))
  expect(sources).toContain('Handbook')
  expect(joinText(await ask(bob))).not.toContain('nine')
})

describe('is changed by librarians of the organization only', () => {
  const forbidden = { title: 'Another', text: 'Shared text.', shared: true }
  it.each([
    ['a member shares', alice, 'POST', '/documents', forbidden, 'not_librarian'],
    ['an owner without an organization shares', bob, 'POST', '/documents', forbidden, 'no_organization'],
    ['a member withdraws', alice, 'PATCH', `/documents/${id}`, { shared: false }, 'not_librarian'],
    ['a member deletes', alice, 'DELETE', `/documents/${id}`, undefined, 'not_librarian'],
  ] as const)('%s: 403', async (_, headers, method, url, payload, code) => {
    const { status, body } = await send(headers, method, url, payload)
    expect([status, body.code]).toEqual([403, code])
    expect(await listTitles(carol)).toEqual(['Handbook'])
  })

  it('a file with `shared` after it, which replaces the text with the same name', async () => {
    const form = new FormData()
    form.set('file', new Blob(['The office opens at ten.']), 'handbook.txt')
    form.set('externalId', 'handbook')
    form.set('shared', 'true')
    const url = app.listeningOrigin
    const response = await fetch(`${url}/documents`, { method: 'POST', headers: carol, body: form })
    expect([response.status, await response.json()]).toMatchObject([202, { id, shared: true }])
    await work()
    expect((await send(alice, 'GET', `/documents/${id}/text`)).body).toMatchObject({ text: 'The office opens at ten.' })
    form.set('shared', 'yes')
    const refused = await fetch(`${url}/documents`, { method: 'POST', headers: carol, body: form })
    expect(refused.status).toBe(400)
  })

  it('a document is shared later, and withdrawn', async () => {
    const own = (await post(carol, { title: 'Rules', text: 'Cats are welcome.' })).body
    await work()
    expect(await search(alice, 'cats')).not.toContain('Rules')
    const share = (shared: boolean) => send(carol, 'PATCH', `/documents/${own.id}`, { shared })
    expect((await share(true)).body).toMatchObject({ id: own.id, shared: true, status: 'queued' })
    await work()
    expect(await search(alice, 'cats')).toContain('Rules')
    expect((await share(false)).body).toMatchObject({ shared: false })
    expect((await send(alice, 'GET', `/documents/${own.id}`)).status).toBe(404)
    await work()
    expect([await search(carol, 'cats'), await search(alice, 'cats')]).toEqual([
      expect.arrayContaining(['Rules']),
      expect.not.arrayContaining(['Rules']),
    ])
    await post(carol, { title: 'Rules', text: 'Cats are welcome.', shared: true })
    expect(await share(true)).toMatchObject({ status: 409, body: { code: 'document_exists' } })
  })
})

it('follows a change of membership with the next request', async () => {
  const read = () => send(alice, 'GET', `/documents/${id}`)
  expect((await read()).status).toBe(200)
  await store.owners.leave(owner)
  expect((await read()).status).toBe(404)
  await store.owners.join(owner, 'globex')
  expect((await read()).status).toBe(404)
  await store.owners.join(owner, 'acme')
  expect((await read()).status).toBe(200)
})
