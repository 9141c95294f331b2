import { setTimeout as sleep } from 'node:timers/promises'
import { Client, SdkHttpError, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { createTestModels } from '@repo/testing/test-models'
import { toLlm } from '@repo/llm'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { defineTool, ToolError } from '../chat/tools.ts'
import { testApp } from '../testing.ts'
import readDocument from '../tools/read-document.ts'
import searchDocuments from '../tools/search-documents.ts'

/** A call of `hold` that runs, and what ended it. */
const held: { release: () => void; aborted?: unknown } = { release: () => {} }
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
      handler: ({ signal }) =>
        new Promise((resolve) => {
          held.release = () => resolve('released')
          signal.addEventListener('abort', () => Object.assign(held, { aborted: signal.reason }))
        }),
    }),
  }),
)

const environment = { DATABASE_POOL_SIZE: '1', OWNER_REQUESTS_PER_MINUTE: '1000', CORS_ORIGINS: 'https://app.example' }
const { app, store, alice, bob, work, listen, close } = await testApp({
  tools,
  environment,
  llm: toLlm(createTestModels()),
})
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

const call = (body: object, headers = {}) =>
  app.inject({ method: 'POST', url: '/mcp', headers: { ...alice, ...headers }, payload: { jsonrpc: '2.0', ...body } })
const waitForHold = () => vi.waitFor(() => expect(held.release).not.toBe(undefined))

describe.each([
  ['before 2026-07-28', 'legacy' as const],
  ['of 2026-07-28', { pin: '2026-07-28' }],
])('a client of the revision %s', (_, mode) => {
  it('finds the tools with `mcp: true`, with the schemas of the chat', async () => {
    const client = await connect(mode)
    expect(client.getServerVersion()).toMatchObject({ name: 'sluice' })
    const listed = await client.listTools()
    expect(listed.tools.map(({ name }) => name)).toEqual([
      ...['read_document', 'search_documents', 'refuse', 'break', 'ask_user', 'hold'],
    ])
    const { description, parameters } = searchDocuments
    expect(listed.tools[1]).toMatchObject({ description, inputSchema: parameters })
  })

  it('searches and reads the documents of its owner only', async () => {
    const client = await connect(mode)
    const found = await client.callTool({ name: 'search_documents', arguments: { query: 'When does the office open?' } })
    const { passages } = readJson(found)
    expect(passages).toContainEqual({ n: 1, title: 'Office', text: 'The office opens at nine.', documentId: ids.office })
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
    expect({ isError, content }).toEqual({ isError: true, content: [{ type: 'text', text: expect.stringContaining(text) }] })
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

  it('is refused with a wrong key, from another origin, and beyond its quota', async () => {
    const refused = async (headers: Record<string, string>) =>
      connect(mode, headers).then(
        () => 'connected',
        (error) => (error instanceof SdkHttpError ? error.data.status : error),
      )
    expect(await refused({ authorization: 'Bearer sl_wrong' })).toBe(401)
    expect(await refused({ ...alice, origin: 'https://other.example' })).toBe(403)
    expect(await refused({ ...alice, origin: 'https://app.example' })).toBe('connected')
  })

  it('holds no connection while a tool runs, which ends when the client leaves', async () => {
    Object.assign(held, { release: undefined, aborted: undefined })
    const client = await connect(mode)
    const controller = new AbortController()
    const calling = client.callTool({ name: 'hold', arguments: {} }, { signal: controller.signal })
    await waitForHold()
    expect((await client.listResources()).resources).toHaveLength(2) // with the only connection of the pool
    held.release()
    expect(readJson(await calling)).toBe('released')
  })
})

function readJson({ content, isError }: Awaited<ReturnType<Client['callTool']>>) {
  expect(isError, JSON.stringify(content)).toBeFalsy()
  const [part] = content
  return part?.type === 'text' ? JSON.parse(part.text) : undefined
}
