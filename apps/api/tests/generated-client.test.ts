import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../src/testing.ts'

const root = join(import.meta.dirname, '../../..')
const { alice, work, listen, close } = await testApp()
const baseUrl = await listen()
const folder = await mkdtemp(join(tmpdir(), 'sluice-client-'))
afterAll(async () => {
  await close()
  await rm(folder, { recursive: true })
})
await promisify(execFile)(process.execPath, ['infra/template/client.ts', baseUrl, folder], { cwd: root })
await writeFile(join(folder, 'package.json'), '{"type":"module"}')

/** A program that a user of the client would write, run by Node. It prints what it got as JSON. */
async function run(program: string): Promise<unknown> {
  const file = join(folder, 'program.ts')
  const setUp = `import * as api from './index.ts'
    import { client } from './client.gen.ts'
    client.setConfig({ baseUrl: '${baseUrl}', auth: () => process.env.KEY ?? '' })\n`
  await writeFile(file, `${setUp}${program}`)
  const options = { env: { KEY: alice.authorization.slice('Bearer '.length) } }
  const { stdout } = await promisify(execFile)(process.execPath, [file], options)
  return JSON.parse(stdout)
}

const programs = {
  documents: `
    const added = await api.addDocument({ body: { title: 'Office', text: 'The office opens at nine.' }, throwOnError: true })
    console.log(JSON.stringify({ id: added.data.id, status: added.data.status }))`,
  search: `
    const list = await api.listDocuments({ query: { limit: 5 }, throwOnError: true })
    const found = await api.search({ query: { q: 'When does the office open?', k: 1 }, throwOnError: true })
    const read = await api.readDocument({ path: { id: list.data.items[0]?.id ?? '' }, throwOnError: true })
    const status: 'queued' | 'processing' | 'ready' | 'failed' = read.data.status
    console.log(JSON.stringify({ status, titles: list.data.items.map(({ title }) => title), text: found.data.items[0]?.text }))`,
  chat: `
    const { stream } = await api.ask({ body: { message: 'When does the office open?', conversationId: 'office' } })
    const types: string[] = []
    for await (const part of stream) types.push(typeof part === 'string' ? part : String(Object(part).type))
    const { data } = await api.readConversation({ path: { id: 'office' }, throwOnError: true })
    const { data: list } = await api.listConversations({ throwOnError: true })
    const roles: ('user' | 'assistant')[] = data.messages.map(({ role }) => role)
    console.log(JSON.stringify({ types: [...new Set(types)], roles, answer: data.messages[1]?.content, ids: list.items.map(({ id }) => id) }))`,
  errors: `
    const missing = await api.readDocument({ path: { id: 'none' } })
    const invalid = await api.search({ query: { q: '' } })
    const refused = await api.createEmbeddings({ body: { model: 'none', input: 'a' } })
    const code: string | undefined = missing.error?.code
    console.log(JSON.stringify([code, invalid.error?.code, refused.error?.error.code, missing.response?.status]))`,
  openAi: `
    const { data: models } = await api.listModels({ throwOnError: true })
    const [chat, embedder] = models.data
    const { data: list } = await api.createEmbeddings({ body: { model: embedder?.id ?? '', input: ['a', 'b'] }, throwOnError: true })
    console.log(JSON.stringify({ models: models.data.length, vectors: list.data.length, chat: typeof chat?.id }))`,
}

describe('a client generated from /openapi.json', () => {
  it('never replaces a folder with other files', async () => {
    const other = await mkdtemp(join(tmpdir(), 'sluice-other-'))
    await writeFile(join(other, 'mine.txt'), 'mine')
    const command = promisify(execFile)(process.execPath, ['infra/template/client.ts', baseUrl, other], { cwd: root })
    await expect(command).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('contains other files') })
    expect(await readFile(join(other, 'mine.txt'), 'utf8')).toBe('mine')
    await rm(other, { recursive: true })
  })

  it('needs a running API, and says so', async () => {
    const command = promisify(execFile)(process.execPath, ['infra/template/client.ts', 'http://127.0.0.1:9'], {
      cwd: root,
    })
    await expect(command).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^No API answers at .*npm start.*\n$/),
    })
  })

  it('adds, reads, lists and finds documents', async () => {
    expect(await run(programs.documents)).toEqual({ id: expect.any(String), status: 'queued' })
    await work()
    const expected = { status: 'ready', titles: ['Office'], text: 'The office opens at nine.' }
    expect(await run(programs.search)).toEqual(expected)
  })

  it('reads an answer as it streams, and its conversation', async () => {
    const { types, ...rest } = Object(await run(programs.chat))
    expect(types).toEqual(expect.arrayContaining(['start', 'source-document', 'text-delta', 'finish']))
    expect(rest).toEqual({
      roles: ['user', 'assistant'],
      answer: expect.stringContaining('nine'),
      ids: ['office'],
    })
  })

  it('gives errors as they are: problems, and OpenAI’s envelope below /v1/', async () => {
    expect(await run(programs.errors)).toEqual(['document_not_found', 'invalid_request', 'model_not_found', 404])
  })

  it('speaks OpenAI’s dialect', async () => {
    expect(await run(programs.openAi)).toEqual({ models: 2, vectors: 2, chat: 'string' })
  })

  it('has types that fit what such programs do', async () => {
    for (const [name, program] of Object.entries(programs))
      await writeFile(join(folder, `${name}.ts`), `import * as api from './index.ts'\n${program}`)
    const compilerOptions = {
      ...{ noEmit: true, strict: true, noUncheckedIndexedAccess: true, allowImportingTsExtensions: true },
      ...{ target: 'es2025', module: 'nodenext', lib: ['es2025', 'dom', 'dom.iterable', 'dom.asynciterable'] },
      ...{ types: ['node'], typeRoots: [join(root, 'node_modules/@types')], skipLibCheck: true },
    }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
    const compile = promisify(execFile)(join(root, 'node_modules/.bin/tsc'), ['--project', folder])
    const { stdout } = await compile.catch(Object)
    expect(stdout).toBe('')
  })
})
