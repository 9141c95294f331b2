import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { connect, createStore, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { runProgram } from '@repo/testing/processes'
import { afterAll, expect, it } from 'vitest'

const test = await createTestDatabase()
const DATABASE_URL = test.databaseUrl
const { db, close } = connect({ url: DATABASE_URL, poolSize: 2 })
const { owners, documents, turns, passages } = createStore(db)
afterAll(async () => {
  await close()
  await test.drop()
})
const manage = (...args: string[]) => runProgram('apps/cli/dist/manage.js', { DATABASE_URL }, ...args)
const succeed = async (...args: string[]) => {
  const { code, out, err } = await manage(...args)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return out
}

/** Gives an owner 45 documents and conversations: more than a page of the export. */
async function fill(name: string) {
  const owner = await owners.ensure(name)
  for (let n = 0; n < 45; n += 1) {
    const content = { title: `Page ${n}`, text: `${name} wrote page ${n}.` }
    const { id, version } = await documents.add(owner, { ...content, contentHash: content.text })
    const chunk = { heading: '', content: content.text, start: 0, end: 9, embedding: [1, 0] }
    await documents.addChunks(owner, id, 'two', [chunk], { ...content, pages: null, version })
    const ids = { conversationId: `c${n}`, questionId: 'q', answerId: 'a' }
    const files = [{ id: crypto.randomUUID(), url: `data:image/png;base64,${name}` }]
    await turns.open(owner, { ...ids, title: 'A title', question: `${name} asks ${n}`, files })
  }
  return owner
}

it('create-key, join and leave change who reads shared documents', async () => {
  const key = await succeed('create-key', '--owner', 'carol', '--organization', 'acme', '--librarian')
  const findKey = () => owners.findKey(key.slice(3, 19))
  const { organization } = await owners.ensureMember('carol', 'acme')
  expect(await findKey()).toMatchObject({ organization, isLibrarian: true })
  expect(await succeed('leave', '--owner', 'carol')).toBe('carol belongs to no organization now.\n')
  expect(await findKey()).toMatchObject({ organization: null })
  expect(await succeed('join', '--owner', 'carol', '--organization', 'acme')).toBe('carol belongs to acme now.\n')
  expect(await findKey()).toMatchObject({ organization })
  expect(await succeed('create-key', '--owner', 'dan')).toMatch(/^sl_/)
  expect(await succeed('list-owners')).toMatch(
    /^documents .*owner\n0 +0 +1 +organization#acme carol\n0 +0 +1 +- +dan\n0 +0 +0 +- +organization#acme\n$/,
  )
})

it.each([
  [
    ['join', '--owner', 'nobody', '--organization', 'acme'],
    /^Command failed: No owner has the name nobody\..*list-owners/,
  ],
  [['delete-owner', 'nobody', '--yes'], /^Command failed: No owner has the name nobody\./],
  [['export-owner', 'nobody'], /^Command failed: No owner has the name nobody\./],
  [['create-key', '--owner', 'organization#acme'], /^Command failed: An owner cannot be named like an organization\./],
])('%j: one line says what is wrong', async (args, problem) => {
  const { code, out, err } = await manage(...args)
  expect({ code, out }).toEqual({ code: 1, out: '' })
  expect(err).toMatch(problem)
})

it.each([[['join', '--owner', 'carol']], [['leave']], [['delete-owner']], [['create-key', '--organization', 'acme']]])(
  '%j: shows how to call it',
  async (args) => {
    const { code, err } = await manage(...args)
    expect(code).toBe(2)
    expect(err).toContain('npm run manage -- join')
  },
)

it('export-owner prints every row, and no secret', async () => {
  await fill('mary')
  await succeed('create-key', '--owner', 'mary')
  const lines = (await succeed('export-owner', 'mary')).trim().split('\n')
  const rows = lines.map((line) => JSON.parse(line))
  const countOf = (table: string) => rows.filter((row) => row.table === table).length
  expect(['owners', 'api_keys', 'documents', 'conversations', 'messages', 'message_files'].map(countOf)).toEqual([
    1, 1, 45, 45, 90, 45,
  ])
  expect(new Set(rows.filter(({ table }) => table === 'documents').map(({ text }) => text)).size).toBe(45)
  expect(JSON.stringify(rows)).not.toMatch(/secret|carol/)
})

it('delete-owner asks for the name, and deletes everything of one owner only', async () => {
  const [ada, bob] = [await fill('ada'), await fill('bob')]
  const type = async (typed: string) => {
    const file = fileURLToPath(new URL('../dist/manage.js', import.meta.url))
    const child = spawn(process.execPath, [file, 'delete-owner', 'ada'], { env: { DATABASE_URL } })
    child.stdin.end(typed)
    return { out: await text(child.stdout), err: await text(child.stderr), code: child.exitCode }
  }
  const question = 'This deletes 45 documents, 45 conversations and 0 keys of ada. Type the name to go on: '
  for (const typed of ['', 'bob\n']) {
    const { out, err } = await type(typed)
    expect({ out, err }).toEqual({ out: '', err: `${question}Nothing was deleted.\n` })
  }
  expect(await documents.list(ada, 100)).toHaveLength(45)
  expect(await type('ada\n')).toMatchObject({ out: 'Deleted 45 documents, 45 conversations and 0 keys of ada.\n' })
  const tables = ['documents', 'chunks', 'conversations', 'messages', 'message_files', 'answer_pieces', 'uploads']
  for (const table of tables) {
    const rows = await db.execute(sql`select from ${sql.identifier(table)} where owner_id = ${ada}`)
    expect([table, rows.length]).toEqual([table, 0])
  }
  expect(await documents.list(bob, 100)).toHaveLength(45)
  const search = { text: 'bob page 7', embedding: null, embeddingModel: 'two', limit: 1 }
  expect(await passages.search(bob, search)).toHaveLength(1)
})
