import { Script } from 'node:vm'

// The files that `npm run new` writes. `text` is a placeholder for the resource's content.

export type Resource = ReturnType<typeof nameResource>

const maxLength = 24 // with longer names, so many lines break that a route function exceeds Biome's limit

/** Returns the names of a resource in URLs, SQL and TypeScript. Throws one sentence if a name is invalid. */
export function nameResource(plural: string, singular = toSingular(plural)) {
  for (const name of [plural, singular]) {
    if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) || name.length > maxLength)
      throw new Error(
        `Invalid name "${name}". Use at most ${maxLength} lower-case letters, digits and single hyphens, as in meeting-notes.`,
      )
  }
  const constant = toCamelCase(plural)
  if (isReservedWord(constant)) throw new Error(`${constant} is a reserved word in JavaScript. Choose another name.`)
  return {
    path: plural,
    table: plural.replaceAll('-', '_'),
    constant,
    words: plural.replaceAll('-', ' '),
    shape: toCamelCase(`-${singular}`),
    code: singular.replaceAll('-', '_'),
    word: singular.replaceAll('-', ' '),
    title: singular.charAt(0).toUpperCase() + singular.slice(1).replaceAll('-', ' '),
  }
}

/** Returns the singular of a regular plural, such as note for notes. Throws for others, which need an explicit one. */
function toSingular(plural: string): string {
  if (/[^s]s$/.test(plural) && !/(ie|[sxzo]e|[cs]he|[iu])s$/.test(plural)) return plural.slice(0, -1)
  throw new Error('Pass the singular too: npm run new -- addresses address')
}

function isReservedWord(name: string): boolean {
  try {
    return !new Script(`'use strict'; const ${name} = 0`)
  } catch {
    return true
  }
}

function toCamelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}

export const writeTable = ({ table, constant }: Resource) => `
export const ${constant} = pgTable(
  '${table}',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    ownerId: ownerId(),
    text: text('text').notNull(),
    createdAt: createdAt(),
  },
  (table) => [index('${table}_newest').on(table.ownerId, table.createdAt, table.id)],
)
`

export const writeRoute = ({ path, constant, words, shape, code, title }: Resource) => `
import { and, type Cursor, type Db, desc, eq, ${constant}, sql, toStorableText } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { decodeCursor, PageQuery, toPage } from '../paging.ts'
import { ProblemError } from '../plugins/errors.ts'

const ${shape}Request = z.object({
  text: z.string().max(10_000).regex(/\\S/, 'must not be empty').transform(toStorableText),
})
const ${shape}Response = z.object({ id: z.string(), text: z.string(), createdAt: z.iso.datetime() })
const ${shape}List = z.object({ items: z.array(${shape}Response), next: z.string().nullable() })
const Params = z.object({ id: z.uuid() })

const notFound = () => new ProblemError(404, '${code}_not_found', '${title} not found. See GET /${path} for yours.')
const toResponse = (row: typeof ${constant}.$inferSelect) => ({ ...row, createdAt: row.createdAt.toISOString() })

const routes: FastifyPluginAsyncZod = async (app) => {
  const queries = createQueries(app.db)

  app.post(
    '',
    { schema: { summary: 'Add to my ${words}', body: ${shape}Request, response: { 201: ${shape}Response } } },
    async ({ owner, body: { text } }, reply) => {
      const [row] = await queries.add(owner, text)
      if (!row) throw new Error('an insert returned no row')
      return reply.code(201).send(toResponse(row))
    },
  )

  app.get(
    '',
    { config: { problems: { 400: ['invalid_cursor'] } }, schema: { summary: 'List my ${words}, newest first', querystring: PageQuery, response: { 200: ${shape}List } } },
    async ({ owner, query: { limit, after } }) => {
      const cursor = decodeCursor(after)
      if (cursor && !Params.safeParse(cursor).success)
        throw new ProblemError(400, 'invalid_cursor', 'Invalid cursor. Use the \`next\` value of the previous page.')
      return toPage(await queries.list(owner, limit + 1, cursor), limit, (row) => row.createdAt, toResponse)
    },
  )

  app.get(
    '/:id',
    { config: { problems: { 404: ['${code}_not_found'] } }, schema: { summary: 'Read one of my ${words}', params: Params, response: { 200: ${shape}Response } } },
    async ({ owner, params: { id } }) => {
      const [row] = await queries.find(owner, id)
      if (!row) throw notFound()
      return toResponse(row)
    },
  )

  app.delete(
    '/:id',
    { config: { problems: { 404: ['${code}_not_found'] } }, schema: { summary: 'Delete one of my ${words}', params: Params, response: { 204: z.undefined() } } },
    async ({ owner, params: { id } }, reply) => {
      const [row] = await queries.remove(owner, id)
      if (!row) throw notFound()
      return reply.code(204).send()
    },
  )
}

export default routes

function createQueries(db: Db) {
  const is${shape} = (owner: string, id: string) => and(eq(${constant}.ownerId, owner), eq(${constant}.id, id))
  const isAfter = ({ time, id }: Cursor) =>
    sql\`(\${${constant}.createdAt}, \${${constant}.id}) < (\${time}::timestamptz, \${id}::uuid)\`
  return {
    add: (owner: string, text: string) => db.insert(${constant}).values({ ownerId: owner, text }).returning(),
    list: (owner: string, limit: number, after: Cursor | undefined) =>
      db
        .select()
        .from(${constant})
        .where(and(eq(${constant}.ownerId, owner), after && isAfter(after)))
        .orderBy(desc(${constant}.createdAt), desc(${constant}.id))
        .limit(limit),
    find: (owner: string, id: string) => db.select().from(${constant}).where(is${shape}(owner, id)),
    remove: (owner: string, id: string) => db.delete(${constant}).where(is${shape}(owner, id)).returning({ id: ${constant}.id }),
  }
}
`

export const writeTest = ({ path, code, word, words }: Resource) => `
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const { app, alice, bob, close } = await testApp()
afterAll(close)

const add = (payload: object) => app.inject({ method: 'POST', url: '/${path}', headers: alice, payload })
const get = async (path = '', headers = alice) => (await app.inject({ url: \`/${path}\${path}\`, headers })).json()
const remove = (id: string, headers = alice) => app.inject({ method: 'DELETE', url: \`/${path}/\${id}\`, headers })

describe('one of the ${words}', () => {
  it('is added with 201, listed, read and deleted', async () => {
    const response = await add({ text: 'Buy milk' })
    expect(response.statusCode).toBe(201)
    const added = response.json()
    expect(added).toEqual({ id: expect.any(String), text: 'Buy milk', createdAt: expect.stringMatching(/T.*Z$/) })
    expect(await get(\`/\${added.id}\`)).toEqual(added)
    expect((await get()).items).toContainEqual(added)

    expect((await remove(added.id)).statusCode).toBe(204)
    expect(await get(\`/\${added.id}\`)).toMatchObject({ status: 404, code: '${code}_not_found' })
    expect((await remove(added.id)).statusCode).toBe(404)
  })

  it('does not exist for another owner', async () => {
    const { id } = (await add({ text: 'Buy a present for Bob' })).json()
    expect(await get(\`/\${id}\`, bob)).toMatchObject({ status: 404, code: '${code}_not_found' })
    expect((await get('', bob)).items).toEqual([])
    expect((await remove(id, bob)).statusCode).toBe(404)
    expect(await get(\`/\${id}\`)).toMatchObject({ id })
  })

  it('needs a key', async () => {
    expect((await app.inject('/${path}')).statusCode).toBe(401)
  })

  it.each([
    ['no text', {}],
    ['an empty text', { text: ' ' }],
    ['a text that is too long', { text: 'a'.repeat(10_001) }],
  ])('400 for %s, and the path of what is wrong', async (_, payload) => {
    expect((await add(payload)).json()).toMatchObject({ code: 'invalid_request', errors: [{ path: '/text' }] })
  })

  it('400 for an id that is none', async () => {
    expect(await get('/nonsense')).toMatchObject({ status: 400, code: 'invalid_request' })
    expect((await remove('nonsense')).statusCode).toBe(400)
  })
})

describe('the list', () => {
  it('has the newest first, and every ${word} once over its pages', async () => {
    for (const text of ['First', 'Second', 'Third']) await add({ text })
    const first = await get('?limit=2')
    expect(first.items).toMatchObject([{ text: 'Third' }, { text: 'Second' }])
    const second = await get(\`?limit=2&after=\${first.next}\`)
    expect(second.items[0]).toMatchObject({ text: 'First' })
    expect((await get('?limit=100')).next).toBeNull()
  })

  it('400 for the cursor of another list', async () => {
    const after = Buffer.from(JSON.stringify(['2026-01-01T00:00:00Z', 'a-conversation'])).toString('base64url')
    expect(await get(\`?after=\${after}\`)).toMatchObject({ status: 400, code: 'invalid_cursor' })
  })
})
`
