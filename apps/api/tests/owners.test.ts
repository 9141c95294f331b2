import { randomBytes, randomInt, randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { readConfig } from '@repo/config'
import { createKey, modelUsage } from '@repo/db'
import { createModels } from '@repo/models'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { testApp } from '../src/testing.ts'
import { addRow, listOwnedTables, readRows } from './testing-owners.ts'
import {
  endsAccess,
  type Filling,
  fillRequest,
  type Operation,
  readOperations,
  readRouteTable,
} from './testing-routes.ts'
import { createStrangers, environment } from './testing-strangers.ts'

// Alice has rows in every table and two running answers, and Acme, her organization, has shared documents. Bob requests
// all of that through every route. He is someone else each time: see testing-strangers.ts. New routes and tables are
// covered automatically. Alice posts the example bodies of openapi.json, or any text where there are none. A table that
// no route fills gets a row of hers anyway.

const sharedMarker = `acmes${randomBytes(8).toString('hex')}` // in everything that Acme shares
const marker = `alices${randomBytes(8).toString('hex')}` // in everything that Alice writes
const holdOn = 'Hold on'
const spoken = createScriptedModel()
const models = createModels(readConfig({ DATABASE_URL: 'postgres://nobody@127.0.0.1:9/nothing' }))
/** Answers at once, unless the question tells it to wait. */
const chat: typeof models.chat = {
  ...models.chat,
  capabilities: { ...models.chat.capabilities, images: true },
  stream: (request) => (request.question?.startsWith(holdOn) ? spoken.llm : models).chat.stream(request),
}
const limits = { OWNER_REQUESTS_PER_MINUTE: '1000000', OWNER_STREAMS: '1000' } // else `usage` has no rows
const { app, store, alice, work, close } = await testApp({
  llm: { ...models, chat },
  environment: { ...limits, ...environment },
})
afterAll(close)
const description = await app.inject('/openapi.json')
const operations = readOperations(description.json())

const ask = (conversationId: string, message: string) =>
  app.inject({
    method: 'POST',
    url: '/chat',
    headers: alice,
    payload: { message: `${message} ${marker}`, conversationId },
  })
/** Starts an answer and waits until its text is stored, a second later. Otherwise the rows change during a test. */
async function begin(conversationId: string) {
  void ask(conversationId, holdOn)
  const answer = await spoken.takeAnswer()
  answer.say(marker)
  const assertStored = async () => {
    const conversation = await app.inject({ url: `/conversations/${conversationId}`, headers: alice })
    expect(conversation.json().messages.at(-1)).toMatchObject({ content: marker })
  }
  await vi.waitFor(assertStored, { timeout: 120_000, interval: 50 })
  return answer
}
const followed = await begin('alices-running')
await begin('alices-stoppable')
await ask('alices-ended', 'Well?')
const image = { type: 'file', mediaType: 'image/png', url: `https://example.com/${marker}`, filename: marker }
const withImage = { id: 'alices-image', messages: [{ id: 'image-question', role: 'user', parts: [image] }] }
await app.inject({ method: 'POST', url: '/chat', headers: alice, payload: withImage })
for (const operation of operations) if (operation.method === 'POST' && !operation.hasId) await write(operation)
const owner = await store.owners.ensure('alice')
const { organization = '' } = await store.owners.ensureMember('carol', 'acme')
await store.owners.join(owner, 'acme')
const carol = `Bearer ${await createKey(store, 'carol', { organization: 'acme', isLibrarian: true })}`
const share = (title: string) => {
  const payload = { title: `${title} ${sharedMarker}`, text: sharedMarker, externalId: sharedMarker, shared: true }
  return app.inject({ method: 'POST', url: '/documents', headers: { authorization: carol }, payload })
}
await share('Shared')
await work()
await share('Changed')
const queued = { title: `Queued ${marker}`, text: marker, externalId: `queued-${marker}` }
await app.inject({ method: 'POST', url: '/documents', headers: alice, payload: queued }) // else `uploads` has no rows

/** Posts the document's example as Alice, with her marker wherever free text is allowed. */
async function write(operation: Operation) {
  const request = fillRequest(operation, {})
  const mark = (value: unknown) => (typeof value === 'string' ? `${value} ${marker}` : value)
  const payload = Object.fromEntries(
    Object.entries(Object(request.payload)).map(([name, value]) => [name, mark(value)]),
  )
  const { statusCode } = await app.inject({ ...request, payload, headers: alice })
  if (statusCode >= 400) await app.inject({ ...request, headers: alice }) // a text that must be an existing name
}

const alicesTokens = randomInt(1_000_000_000, 2_000_000_000)
const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10)
const used = { day: yesterday, keyId: '', kind: 'chat', model: marker, processId: randomUUID(), requests: 1 } as const
const counts = { inputTokens: alicesTokens, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0, toolCalls: 0 }
await app.db.insert(modelUsage).values({ ownerId: owner, ...used, ...counts, estimated: 0 })
const tables = await listOwnedTables(app.db)
const readTable = (table: string) => readRows(app.db, table, owner)
const readShared = (table: string) => readRows(app.db, table, organization)
for (const table of tables) if ((await readTable(table)).length === 0) await addRow(app.db, table, owner, marker)
const readAllRows = () => {
  const stable = tables.filter((table) => !['usage', 'model_usage'].includes(table))
  return Promise.all([...stable.map(readTable), ...stable.map(readShared)])
}

/** A value of Alice's or Acme's, and one of the same form that never existed. `isShared`: her organization may see it. */
type Pair = { real: string; twin: string; isShared?: boolean }

const isUuid = (text: string) => /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(text)
const toTwin = (real: string) =>
  isUuid(real) ? randomUUID() : real.replaceAll(/[A-Za-z0-9]/g, () => randomInt(36).toString(36))
const toPair = (real: string, isShared = false): Pair => ({ real, twin: toTwin(real), isShared })

/** Returns the ids in each row. */
async function collectIds(read: typeof readTable): Promise<string[][]> {
  const rows = (await Promise.all(tables.map(read))).flat()
  const isPublic = (id: string) => description.body.includes(id) // in an example
  return rows.map((row) =>
    Object.entries(row)
      .flatMap(([name, value]) => (/^(.*_)?id$/.test(name) ? String(value) : []))
      .filter((id) => !isPublic(id)),
  )
}

/** Returns the id of a document that has a text. */
const findDocument = async (read: typeof readTable) => (await read('documents')).find(({ text }) => text)?.id

/** Returns the cursors of Alice's lists. */
async function collectCursors(): Promise<Pair[]> {
  const lists = operations.filter(({ places }) => places.some(({ name }) => name === 'after'))
  const pages = lists.map(({ path }) => app.inject({ url: path, query: { limit: '1' }, headers: alice }))
  const cursors: string[] = (await Promise.all(pages)).flatMap((page) => page.json().next ?? [])
  return cursors.map((real) => {
    const [time, id] = JSON.parse(Buffer.from(real, 'base64url').toString())
    return { real, twin: Buffer.from(JSON.stringify([time, toTwin(id)])).toString('base64url') }
  })
}

const lastQuestion = (await store.conversations.read(owner, 'alices-ended', 2))?.messages.at(-1)
const [documentId, sharedId] = [await findDocument(readTable), await findDocument(readShared)]
const ownRows = await collectIds(readTable)
const sharedRows = await collectIds(readShared)
const ownIds = new Set(ownRows.flat())
const own = [...ownIds].map((id) => toPair(id))
const ids = [...own, ...[...new Set(sharedRows.flat()).difference(ownIds)].map((id) => toPair(id, true))]
const eventIds = own.map(({ real, twin }) => ({ real: `${real}.0`, twin: `${twin}.0` }))
const cursors = await collectCursors()
const pairs: Pair[] = [...ids, ...eventIds, ...cursors, toPair(marker), toPair(sharedMarker, true)]
const shared = new Set(pairs.flatMap(({ real, isShared }) => (isShared ? real : [])))

/** The ids that occur in one row with an id. Most rows have the owner's. */
const related = new Map<string, Set<string>>()
for (const row of [...ownRows, ...sharedRows]) {
  for (const id of row) related.set(id, (related.get(id) ?? new Set()).union(new Set(row)))
}
/** Ids of unrelated rows are not combined: that would be five times as many requests. Other values belong to any row. */
const mayMeet = (id: string, value: string) => related.get(value.replace(/\.0$/, ''))?.has(id) ?? true

/**
 * Returns every request to an operation with one of Alice's ids, and with one more value of hers at each place that may
 * belong to it.
 */
function fillings({ hasId, places }: Operation): { real: Filling; twin: Filling }[] {
  const paths = hasId
    ? ids.map(({ real, twin }) => ({ real: { id: real }, twin: { id: twin } }))
    : [{ real: { id: undefined }, twin: { id: undefined } }]
  const placed = places.flatMap((place) =>
    pairs.flatMap(({ real, twin }) =>
      paths
        .filter((path) => path.real.id === undefined || mayMeet(path.real.id, real))
        .map((path) => ({ real: { ...path.real, place, value: real }, twin: { ...path.twin, place, value: twin } })),
    ),
  )
  return hasId ? [...paths, ...placed] : placed
}

type Request = ReturnType<typeof fillRequest>

/** Returns everything that a client sees of a response, except the request's id and the time. */
async function read(request: Request, headers: typeof alice): Promise<{ status: number; text: string }> {
  const {
    statusCode: status,
    headers: given,
    body,
  } = await app.inject({ ...request, headers: { ...request.headers, ...headers } })
  const { date: _, 'content-length': __, ...rest } = given
  return {
    status,
    text: `${status} ${JSON.stringify(rest)} ${body}`.replaceAll(String(given['x-request-id']), '<request>'),
  }
}

/** Returns a response without its input, and a successful one without values that are new each time. */
function compare({ status, text }: Awaited<ReturnType<typeof read>>, { id, value }: Filling): string {
  const asked = [value, id].reduce<string>((rest, own) => (own ? rest.replaceAll(own, '<asked>') : rest), text)
  if (status >= 400) return asked
  return asked
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}|_[\da-f]{32}/g, '<new>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z|"(created|created_at|completed_at)":\d+/g, '<now>')
}

/** Returns Alice's data in a response, except what was in the request. */
const find = (text: string, { id = '', value = '' }: Filling, isInside = false) =>
  [marker, sharedMarker, String(alicesTokens), ...ids.map(({ real }) => real)].filter(
    (secret) =>
      !(isInside && shared.has(secret)) && !id.includes(secret) && !value.includes(secret) && text.includes(secret),
  )

const atOnce = 10 // as many as the pool has connections; hundreds would wait for them on a busy machine, and fail

const isPersonal = ({ path }: Operation) => !/^\/(health|live|metrics|(v1\/)?models)/.test(path)

it('Alice has rows in every table', async ({ annotate }) => {
  const rows = await Promise.all(tables.map(readTable))
  expect(tables.filter((_, index) => rows[index]?.length === 0)).toEqual([])
  const requests = operations.reduce((sum, operation) => sum + 2 * fillings(operation).length + 1, 0)
  await annotate(
    `${operations.length} routes, ${tables.length} tables, ${requests} requests for what is another owner’s`,
  )
})

it('every registered route is covered', () => {
  const routes = readRouteTable(app.printRoutes({ commonPrefix: false }))
  const walked = operations.map(({ method, path }) => `${method} ${path}`)
  expect(
    routes
      .filter((route) => route !== endsAccess && !/ \/($|\*|docs|openapi\.json|\.well-known|v1\/models\*)/.test(route))
      .toSorted(),
  ).toEqual(walked.toSorted())
})

/** Bob sends Alice's ids in his own texts, and would find those. So each request that writes has a new owner. */
const chooseBob = createStrangers(store)

describe('Bob, who asks for what is Alice’s,', () => {
  it.each(operations)(
    '$method $path: sees and changes nothing, and gets the same response as for a value that never existed',
    async (operation) => {
      const before = await readAllRows()
      for (let n = 0; n < 10; n += 1) {
        const bob = chooseBob()
        const { text } = await read(fillRequest(operation, {}), await bob.create())
        expect(find(text, {}, bob.isInside)).toEqual([])
      }
      const left = fillings(operation)
      const tryAll = async () => {
        for (let next = left.pop(); next; next = left.pop()) {
          const { real, twin } = next
          const bob = chooseBob(shared.has(real.id ?? '') || shared.has(real.value ?? ''))
          // Each that writes has a Bob of its own, so that no response depends on what another request has stored.
          const takeBob = operation.method === 'GET' ? bob.reuse : bob.create
          const mine = await read(fillRequest(operation, real), await takeBob())
          const nobodys = await read(fillRequest(operation, twin), await takeBob())
          expect(find(mine.text, real, bob.isInside)).toEqual([])
          expect(compare(mine, real)).toBe(compare(nobodys, twin))
        }
      }
      await Promise.all(Array.from({ length: atOnce }, tryAll))
      expect(await readAllRows()).toEqual(before)
    },
  )

  /** Replaces each value by its twin, except those that somebody inside her organization may see. */
  const swap = (text: string, isInside: boolean) =>
    pairs
      .filter(({ isShared }) => !(isInside && isShared))
      .reduce((rest, { real, twin }) => rest.replaceAll(real, twin), text)
  const message = ids.find(({ real }) => real === lastQuestion?.id)?.real ?? ''
  const text = `Well? ${marker}`
  const messages = [{ id: message, role: 'user', parts: [{ type: 'text', text }] }]
  const completion = { model: 'offline', messages: [{ role: 'user', content: marker }] }
  const callMcp = (method: string, params: object) => ({ jsonrpc: '2.0', id: 1, method, params })
  const callTool = (name: string, input: object) => callMcp('tools/call', { name, arguments: input })
  const bodies: [what: string, url: string, body: Record<string, unknown>][] = [
    ['regenerates an answer of hers', '/chat', { id: 'alices-ended', trigger: 'regenerate-message', messages }],
    ['continues her conversation', '/chat', { id: 'alices-ended', messages }],
    ['asks a model about her documents', '/v1/chat/completions', completion],
    ['asks the same with streaming', '/v1/chat/completions', { ...completion, stream: true }],
    ['asks for a response', '/v1/responses', { model: completion.model, input: completion.messages[0]?.content }],
    ['searches over MCP', '/mcp', callTool('search_documents', { query: marker })],
    ['reads a document of hers over MCP', '/mcp', callTool('read_document', { documentId })],
    ['reads a resource of hers', '/mcp', callMcp('resources/read', { uri: `document:${documentId}` })],
    ['searches for what is shared', '/mcp', callTool('search_documents', { query: sharedMarker })],
    ['reads a shared resource', '/mcp', callMcp('resources/read', { uri: `document:${sharedId}` })],
    ['lists resources after one of hers', '/mcp', callMcp('resources/list', { cursor: cursors.at(-1)?.real })],
    ['posts the same content as she did', '/documents', { title: text, text }],
    ['posts with an externalId of hers', '/documents', { title: text, text, externalId: queued.externalId }],
  ]
  it.each(bodies)('learns nothing when he %s', async (_, url, body) => {
    const bob = chooseBob([...shared].some((secret) => JSON.stringify(body).includes(secret)))
    const before = await readAllRows()
    const request = { method: 'POST' as const, url, query: {}, headers: {}, payload: body }
    const twin = { ...request, payload: JSON.parse(swap(JSON.stringify(body), bob.isInside)) }
    const [mine, nobodys] = [await read(request, await bob.create()), await read(twin, await bob.create())]
    expect(find(mine.text, { value: JSON.stringify(body) }, bob.isInside)).toEqual([])
    expect(compare({ ...mine, text: swap(mine.text, bob.isInside) }, {})).toBe(compare(nobodys, {}))
    expect(await readAllRows()).toEqual(before)
  })
})

// Positive control: without it, a test that requests nothing would find nothing.
it.each(operations.filter(isPersonal).filter(({ method, hasId }) => hasId || method === 'GET'))(
  '$method $path: Alice herself sees or changes something',
  async (operation) => {
    const before = await readAllRows()
    if (operation.path.endsWith('/stream')) setTimeout(() => followed.end(), 500)
    const hasEffect = async ({ real }: { real: Filling }) => {
      const { text } = await read(fillRequest(operation, real), alice)
      return find(text, real).length > 0 || !isDeepStrictEqual(await readAllRows(), before)
    }
    let seen = false
    for (const filling of [{ real: {} }, ...fillings(operation)]) seen ||= await hasEffect(filling)
    expect(seen).toBe(true)
  },
)
