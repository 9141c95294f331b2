import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { registerRoutes } from './app.ts'
import { testApp } from './testing.ts'

const execute = promisify(execFile)

async function loadRoutes(files: Record<string, string>) {
  const folder = await mkdtemp(join(tmpdir(), 'routes-'))
  const app = Fastify()
  onTestFinished(() => rm(folder, { recursive: true }))
  for (const [name, source] of Object.entries(files)) await writeFile(join(folder, name), source)
  await registerRoutes(app, Object.keys(files), (name) => import(`${folder}/${name}.ts`))
  return app
}

/** Returns the loader's message for each folder. Runs in plain Node, which strips types, while Vitest compiles them. */
async function loadInNode(folders: Record<string, string>[]): Promise<string[]> {
  const parent = await realpath(await mkdtemp(join(tmpdir(), 'routes of a test ')))
  try {
    for (const [index, files] of folders.entries()) {
      await mkdir(join(parent, `${index}`))
      for (const [name, source] of Object.entries(files)) await writeFile(join(parent, `${index}`, name), source)
    }
    const script = `import { registerRoutes } from '${new URL('app.ts', import.meta.url)}'
      import Fastify from '${import.meta.resolve('fastify')}'
      import { readdirSync } from 'node:fs'
      import { pathToFileURL } from 'node:url'
      for (let index = 0; index < ${folders.length}; index += 1) {
        const folder = pathToFileURL(index + '/')
        const text = await registerRoutes(Fastify(), readdirSync(folder), (name) => import(new URL(name + '.ts', folder))).then(() => 'served', ({ message }) => message)
        console.log(JSON.stringify(text.replaceAll(index + '/', '')))
      }`
    const { stdout } = await execute(process.execPath, ['--input-type=module', '--eval', script], { cwd: parent })
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  } finally {
    await rm(parent, { recursive: true })
  }
}

describe('routes/', () => {
  it('serves a file under its name', async () => {
    const app = await loadRoutes({ 'notes.ts': "export default async (app) => { app.get('', async () => 'a note') }" })
    expect((await app.inject('/notes')).body).toBe('a note')
  })

  it.each(['notes.test.ts', 'notes.schemas.ts'])('ignores %s', async (name) => {
    await expect(loadRoutes({ [name]: "throw new Error('not a route')" })).resolves.toBeDefined()
  })
})

describe('a file of routes/ that cannot be served', async () => {
  const plugin = 'export default async (app) => {'
  const route = "app.get('', async () => 1)"
  const cases: Record<string, [sources: Record<string, string>, complaint: string]> = {
    'has no default export': [
      { 'notes.ts': 'export const note = 1' },
      'No plugin found. Add `export default async (app) => { … }`.',
    ],
    'has a default export that is not a plugin': [
      { 'notes.ts': 'export default {}' },
      'No plugin found. Add `export default async (app) => { … }`.',
    ],
    'has a syntax error': [{ 'notes.ts': `${plugin}\n  app.get('', ]\n}` }, 'Expression expected (notes.ts:2)'],
    'imports a missing file': [
      { 'notes.ts': `import './nothing.ts'\n${plugin}}` },
      "Cannot find module 'nothing.ts' imported from notes.ts. End relative imports in .ts. Install packages with `npm install NAME -w @repo/api`.",
    ],
    'imports a package that is not installed': [
      { 'notes.ts': `import 'no-such-package'\n${plugin}}` },
      "Cannot find package 'no-such-package' imported from notes.ts. End relative imports in .ts. Install packages with `npm install NAME -w @repo/api`.",
    ],
    'imports a name that is not exported': [
      { 'notes.ts': `import { nothing } from 'node:fs'\n${plugin}}` },
      "The requested module 'node:fs' does not provide an export named 'nothing' (notes.ts:1)",
    ],
    'throws while it is imported': [
      { 'notes.ts': `\nthrow new Error('no colour was chosen')\n${plugin}}` },
      'no colour was chosen (notes.ts:2)',
    ],
    'throws a string': [{ 'notes.ts': "throw 'a text'" }, 'a text'],
    'throws while it registers': [
      { 'notes.ts': `${plugin}\n  app.gett('')\n}` },
      'app.gett is not a function (notes.ts:2)',
    ],
    'declares a route twice': [
      { 'notes.ts': `${plugin}\n  ${route}\n  ${route}\n}` },
      "Method 'GET' already declared for route '/notes' (notes.ts:3). It is declared twice, in this file or in another one. Rename or remove one.",
    ],
    'declares a route of another file': [
      { 'notes-old.ts': `${plugin} ${route} }`, 'notes.ts': `${plugin}\n  app.get('-old', async () => 1)\n}` },
      "Method 'GET' already declared for route '/notes-old' (notes.ts:2). It is declared twice, in this file or in another one. Rename or remove one.",
    ],
    'contains an enum': [
      { 'notes.ts': `${plugin}}\nenum Colour { red }` },
      'TypeScript enum is not supported in strip-only mode (notes.ts:2). Node only strips types. Use a union of strings instead of an enum, and a field instead of a parameter property.',
    ],
  }
  const complaints = await loadInNode(Object.values(cases).map(([sources]) => sources))

  it.each(Object.entries(cases).map(([name, [, complaint]], index) => ({ name, complaint, index })))(
    '$name: one clear line',
    ({ complaint, index }) => {
      expect(complaints[index]).toBe(`routes/notes.ts cannot be served: ${complaint}`)
    },
  )
})

it('closes while a client is connected but sends no request', async () => {
  const { listen, close } = await testApp()
  const socket = connect(Number(new URL(await listen()).port), '127.0.0.1')
  await once(socket, 'connect')
  await close()
  if (!socket.closed) await once(socket, 'close')
})

it('clears all intervals when it closes', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers())
  const { app, close } = await testApp()
  onTestFinished(close)
  expect(vi.getTimerCount()).toBeGreaterThan(0)
  await app.close()
  expect(vi.getTimerCount()).toBe(0)
})
