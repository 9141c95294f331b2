import { Client, SdkHttpError, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { createKey, sql } from '@repo/db'
import { toLlm } from '@repo/llm'
import { createTestModels } from '@repo/testing/test-models'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { defineTool, ToolError } from '../chat/tools.ts'
import { testApp } from '../testing.ts'
import readDocument from '../tools/read-document.ts'
import searchDocuments from '../tools/search-documents.ts'

type Held = { release: (output: string) => void; signal: AbortSignal }
const held: Held[] = []
/** Waits until the tool `hold` is called. */
const takeHeld = () =>
  vi.waitFor(() => {
    const [call] = held.splice(0)
    if (!call) throw new Error('not called yet')
    return call
  })
const nothing = z.object({})
const tools = new Map(
  Object.entries({
    read_document: readDocument,
    search_documents: searchDocuments,
    refuse: defineTool({
      description: 'Refuses',
      input: nothing,
      mcp: true,
      handler: () => Promise.reject(new ToolError('Closed on Sunday.')),
    }),
    break: defineTool({
      description: 'Breaks',
      input: nothing,
      mcp: true,
      handler: () => Promise.reject(new Error('password=secret')),
    }),
    ask_user: defineTool({ description: 'Runs in a chat client', input: nothing, mcp: true }),
    pay: defineTool({ description: 'Is for the chat', input: nothing, handler: async () => 'paid' }),
    hold: defineTool({
      description: 'Waits',
      input: nothing,
      mcp: true,
      handler: ({ signal }) => new Promise((release) => void held.push({ release, signal })),
    }),
  }),
)

const environment = { DATABASE_POOL_SIZE: '1', CORS_ORIGINS: 'https://app.example' }
const llm = toLlm(createTestModels())
const { app, store, alice, bob, work, listen, close } = await testApp({ tools, environment, llm })
const url = await listen()
afterAll(close)

async function connect(mode: 'legacy' | { pin: string }, headers: Record<string, string> = alice) {
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit: { headers } })
  onTestFinished(() => client.close())
  await client.connect(transport)
  return client
}

async function addDocument(title: string, text: string, headers = alice): Promise<string> {
  const payload = { title, text }
  return (await app.inject({ method: 'POST', url: '/documents', headers, payload })).json().id
}

const longText = `${'a'.repeat(64_000)}The end.`
const ids = { office: '', long: '', foreign: '' }
beforeAll(async () => {
  ids.office = await addDocument('Office', 'The office opens at nine.')
  ids.long = await addDocument('Long', longText)
  ids.foreign = await addDocument('Foreign', 'The office of Bob opens at noon.', bob)
  await work()
})

const revision = '2026-07-28'
const legacy = (method: string, params = {}) => ({ jsonrpc: '2.0', id: 1, method, params })
const modern = (method: string, params = {}) => {
  const key = 'io.modelcontextprotocol'
  const client = { [`${key}/clientInfo`]: { name: 'test', version: '1' }, [`${key}/clientCapabilities`]: {} }
  return legacy(method, { ...params, _meta: { [`${key}/protocolVersion`]: revision, ...client } })
}
const modernHeaders = (method: string, name = '') => ({
  ...{ 'mcp-protocol-version': revision, 'mcp-method': method },
  ...(name && { 'mcp-name': name }),
})
const send = (payload: object | string, headers = {}) =>
  app.inject({ method: 'POST', url: '/mcp', headers: { ...alice, ...headers }, payload })

describe.each([
  ['before 2026-07-28', 'legacy' as const],
  ['of 2026-07-28', { pin: revision }],
])('a client of the revision %s', (_, mode) => {
  it('finds the tools with `mcp: true`, with the schemas of the chat', async () => {
    const client = await connect(mode)
    expect(client.getServerVersion()).toMatchObject({ name: 'sluice' })
    const listed = await client.listTools()
    expect(listed.tools.map(({ name }) => name)).toEqual([
      ...['read_document', 'search_documents', 'refuse', 'break', 'ask_user', 'hold'],
    ])
    const { description, parameters } = searchDocuments
    expect(listed.tools[1]).toMatchObject({ description, inputSchema: parameters, annotations: { readOnlyHint: true } })
  })

  it('searches and reads the documents of its owner only', async () => {
    const client = await connect(mode)
    const found = await client.callTool({
      name: 'search_documents',
      arguments: { query: 'When does the office open?' },
    })
    const { passages } = readJson(found)
    expect(passages).toContainEqual({
      n: 1,
      title: 'Office',
      text: 'The office opens at nine.',
      documentId: ids.office,
    })
    expect(JSON.stringify(passages)).not.toContain('Bob')
    const read = await client.callTool({ name: 'read_document', arguments: { documentId: ids.office } })
    expect(readJson(read)).toEqual({ title: 'Office', text: 'The office opens at nine.' })
    const foreign = await client.callTool({ name: 'read_document', arguments: { documentId: ids.foreign } })
    expect(foreign).toMatchObject({ isError: true, content: [{ text: expect.stringContaining('no document') }] })
  })

  it.each([
    ['a reason of its own', 'refuse', {}, 'Closed on Sunday.'],
    ['an unexpected error, which stays in the log', 'break', {}, 'The tool failed.'],
    ['an invalid input', 'search_documents', { query: 7 }, 'The input is invalid.'],
    ['a call that needs a chat', 'ask_user', {}, 'This call needs a user in a chat.'],
  ])('gets a result for its model when a tool fails: %s', async (_, name, input, text) => {
    const client = await connect(mode)
    const { isError, content } = await client.callTool({ name, arguments: input })
    expect({ isError, content }).toEqual({
      isError: true,
      content: [{ type: 'text', text: expect.stringContaining(text) }],
    })
  })

  it('gets an error for a tool that is not offered', async () => {
    const client = await connect(mode)
    for (const name of ['pay', 'nothing'])
      await expect(client.callTool({ name, arguments: {} })).rejects.toMatchObject({ code: -32602 })
  })

  it('lists the documents of its owner as resources, and reads long ones in parts', async () => {
    const client = await connect(mode)
    const { resources, nextCursor } = await client.listResources()
    expect({ resources, nextCursor }).toEqual({
      resources: [
        { uri: `document:${ids.long}`, name: 'Long', mimeType: 'text/plain' },
        { uri: `document:${ids.office}`, name: 'Office', mimeType: 'text/plain' },
      ],
      nextCursor: undefined,
    })
    const first = await client.readResource({ uri: `document:${ids.long}` })
    const [text, rest] = first.contents
    expect(text).toEqual({ uri: `document:${ids.long}`, mimeType: 'text/plain', text: longText.slice(0, 64_000) })
    expect(rest?.uri).toBe(`document:${ids.long}?start=64000`)
    const second = await client.readResource({ uri: rest?.uri ?? '' })
    expect(second.contents).toEqual([{ uri: rest?.uri, mimeType: 'text/plain', text: 'The end.' }])
    const { resourceTemplates } = await client.listResourceTemplates()
    expect(resourceTemplates).toMatchObject([{ uriTemplate: 'document:{id}{?start}' }])
  })

  it.each([
    ['another owner’s document', () => `document:${ids.foreign}`],
    ['no document', () => 'document:6f1cbf4e-8c39-4e0e-9d36-0d0b8a3f5a11'],
    ['no id', () => 'document:../../etc/passwd'],
    ['another scheme', () => 'file:///etc/passwd'],
  ])('cannot read a URI of %s', async (_, toUri) => {
    const client = await connect(mode)
    const error = await client.readResource({ uri: toUri() }).catch((reason) => reason)
    expect({ code: error.code, message: error.message }).toEqual({
      code: -32602,
      message: expect.stringContaining('not found'),
    })
  })

  it('gets an error for an invalid cursor', async () => {
    const client = await connect(mode)
    for (const cursor of ['nonsense', Buffer.from('["2026-11-24T09:00:00.000Z","no-id"]').toString('base64url')])
      await expect(client.request({ method: 'resources/list', params: { cursor } })).rejects.toMatchObject({
        code: -32602,
        message: expect.stringContaining('Invalid cursor.'),
      })
  })

  it('sees what its organization shares', async () => {
    const librarian = await createKey(store, 'lib', { organization: 'acme', isLibrarian: true })
    const payload = { title: 'Canteen', text: 'The canteen serves soup.', shared: true }
    const headers = { authorization: `Bearer ${librarian}` }
    const { id } = (await app.inject({ method: 'POST', url: '/documents', headers, payload })).json()
    await work()
    const dan = await connect(mode, {
      authorization: `Bearer ${await createKey(store, 'dan', { organization: 'acme' })}`,
    })
    expect((await dan.listResources()).resources).toMatchObject([{ uri: `document:${id}`, name: 'Canteen' }])
    expect((await dan.readResource({ uri: `document:${id}` })).contents).toMatchObject([{ text: payload.text }])
    const found = await dan.callTool({ name: 'search_documents', arguments: { query: 'What does the canteen serve?' } })
    expect(readJson(found).passages).toMatchObject([{ documentId: id }])
  })

  it('reads a long list in pages', async () => {
    const carol = await store.owners.ensure('carol')
    const headers = { authorization: `Bearer ${await createKey(store, 'carol')}` }
    await app.db.execute(sql`insert into documents (owner_id, title, text, content_hash, status)
      select ${carol}, 'Note ' || n, 'A note.', ${mode} || n, 'ready' from generate_series(1, 101) as n`)
    onTestFinished(async () => void (await app.db.execute(sql`delete from documents where owner_id = ${carol}`)))
    const client = await connect(mode, headers)
    const first = await client.request({ method: 'resources/list' })
    const second = await client.request({ method: 'resources/list', params: { cursor: first.nextCursor } })
    expect([first.resources.length, second.resources.length, second.nextCursor]).toEqual([100, 1, undefined])
    expect(new Set([...first.resources, ...second.resources].map(({ name }) => name)).size).toBe(101)
  })

  it('is refused with a wrong key, without the scope `read`, and from another origin', async () => {
    const refused = async (headers: Record<string, string>) =>
      connect(mode, headers).then(
        () => 'connected',
        (error) => (error instanceof SdkHttpError ? error.data.status : error),
      )
    expect(await refused({ authorization: 'Bearer sl_wrong' })).toBe(401)
    const chat = await createKey(store, 'alice', { scopes: ['chat'] })
    expect(await refused({ authorization: `Bearer ${chat}` })).toMatchObject({ requiredScope: 'read' })
    const read = await createKey(store, 'alice', { scopes: ['read'] })
    expect(await refused({ authorization: `Bearer ${read}` })).toBe('connected')
    expect(await refused({ ...alice, origin: 'https://other.example' })).toBe(403)
    expect(await refused({ ...alice, origin: 'https://app.example' })).toBe('connected')
    expect(await refused({ ...alice, origin: url })).toBe('connected')
  })

  it('holds no connection while its tool runs', async () => {
    const client = await connect(mode)
    const calling = client.callTool({ name: 'hold', arguments: {} })
    const { release } = await takeHeld()
    expect((await client.listResources()).resources).toHaveLength(2) // with the only connection of the pool
    release('released')
    expect(readJson(await calling)).toBe('released')
  })
})

describe.each([
  ['before 2026-07-28', legacy, () => ({})],
  [`of ${revision}`, modern, modernHeaders],
])('a message of the revision %s', (_, toMessage, toHeaders) => {
  it('gets JSON, whatever its client accepts', async () => {
    const response = await send(toMessage('tools/list'), { ...toHeaders('tools/list'), accept: '*/*' })
    expect(response.statusCode, response.body).toBe(200)
    expect(response.headers['content-type']).toBe('application/json; charset=utf-8')
    expect(response.json().result.tools).toHaveLength(6)
  })

  it('gets a JSON-RPC error for an unknown method', async () => {
    const response = await send(toMessage('nothing/list'), toHeaders('nothing/list'))
    expect(response.json()).toMatchObject({ jsonrpc: '2.0', id: 1, error: { code: -32601 } })
  })

  it('gets no stream of changes', async () => {
    const method = 'subscriptions/listen'
    const response = await send(toMessage(method, { notifications: {} }), toHeaders(method))
    expect(response.json()).toMatchObject({ id: 1, error: { code: expect.any(Number) } })
  })

  it('gets a problem, not the words of an unexpected error', async () => {
    const { list } = store.documents
    onTestFinished(() => void Object.assign(store.documents, { list }))
    const method = 'resources/list'
    for (const [error, status, code] of [
      [new Error('select "text" from documents'), 500, 'internal_error'],
      [Object.assign(new Error('gone'), { code: 'CONNECTION_CLOSED' }), 503, 'database_unavailable'],
    ] as const) {
      store.documents.list = () => {
        throw error
      }
      const response = await send(toMessage(method), toHeaders(method))
      expect({ status: response.statusCode, body: response.json() }).toMatchObject({ status, body: { status, code } })
      expect(response.body).not.toMatch(/select|gone/)
    }
  })

  it('ends its tool when its client leaves', async () => {
    const controller = new AbortController()
    const headers = { ...alice, 'content-type': 'application/json', ...toHeaders('tools/call', 'hold') }
    const body = JSON.stringify(toMessage('tools/call', { name: 'hold', arguments: {} }))
    const left = fetch(`${url}/mcp`, { method: 'POST', headers, body, signal: controller.signal }).catch(() => 'left')
    const { signal } = await takeHeld()
    controller.abort()
    expect(await left).toBe('left')
    await vi.waitFor(() => expect(signal.aborted).toBe(true))
  })
})

describe('POST /mcp', () => {
  it('rejects a missing key with a challenge, other methods, and bodies that are no message', async () => {
    const anonymous = await app.inject({ method: 'POST', url: '/mcp', payload: legacy('ping') })
    expect(anonymous.statusCode).toBe(401)
    expect(anonymous.headers['www-authenticate']).toBe('Bearer')
    for (const method of ['GET', 'DELETE'] as const) {
      const { statusCode, headers } = await app.inject({ method, url: '/mcp', headers: alice })
      expect({ statusCode, allow: headers.allow }).toEqual({ statusCode: 405, allow: 'OPTIONS, POST' })
    }
    for (const body of [[legacy('ping'), legacy('ping')], { id: 1, method: 'ping' }, { ...legacy('ping'), id: {} }])
      expect((await send(body)).json()).toMatchObject({ status: 400, code: 'invalid_request' })
    const large = legacy('tools/call', { name: 'search_documents', arguments: { query: 'a'.repeat(1024 * 1024) } })
    expect((await send(large)).statusCode).toBe(413)
  })

  it('accepts notifications, and rejects revisions that it does not know', async () => {
    const { id: _, ...notification } = legacy('notifications/initialized')
    const accepted = await send(notification)
    expect([accepted.statusCode, accepted.body]).toEqual([202, ''])
    const unknown = await send(legacy('ping'), { 'mcp-protocol-version': '1999-01-01' })
    expect([unknown.statusCode, unknown.json().error.code]).toEqual([400, -32_000])
  })

  it('counts only calls of tools towards the quota', async () => {
    const one = await testApp({ environment: { OWNER_REQUESTS_PER_MINUTE: '1' } })
    onTestFinished(one.close)
    vi.useFakeTimers({ toFake: ['Date'], now: Math.ceil(Date.now() / 60_000) * 60_000 })
    onTestFinished(() => void vi.useRealTimers())
    const ask = (method: string, params = {}) =>
      one.app.inject({ method: 'POST', url: '/mcp', headers: one.alice, payload: legacy(method, params) })
    const read = () => ask('tools/call', { name: 'read_document', arguments: {} })
    const statuses = [await ask('tools/list'), await read(), await read(), await ask('tools/list')]
    expect(statuses.map(({ statusCode }) => statusCode)).toEqual([200, 200, 429, 200])
    expect(statuses[2]?.json()).toMatchObject({ code: 'rate_limited' })
  })

  it('is not for other pages with AUTH=off either', async () => {
    const local = await testApp({ environment: { AUTH: 'off' } })
    onTestFinished(local.close)
    const ask = (origin: string) =>
      local.app.inject({ method: 'POST', url: '/mcp', headers: { origin }, payload: legacy('ping') })
    expect((await ask('https://other.example')).json()).toMatchObject({ status: 403, code: 'foreign_origin' })
    expect((await ask('http://localhost:80')).statusCode).toBe(200)
  })
})

function readJson({ content, isError }: Awaited<ReturnType<Client['callTool']>>) {
  expect(isError, JSON.stringify(content)).toBeFalsy()
  const [part] = content
  return part?.type === 'text' ? JSON.parse(part.text) : undefined
}
