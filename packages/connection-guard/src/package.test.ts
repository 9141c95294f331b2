import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'

const root = join(import.meta.dirname, '../../..')
const folder = mkdtempSync(join(tmpdir(), 'connection-guard-'))
afterAll(() => rmSync(folder, { recursive: true }))

const run = (cwd: string, command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: 'pipe', env: { ...process.env, NODE_ENV: 'test' } })

execFileSync(process.execPath, [join(import.meta.dirname, '../build.ts')], { stdio: 'pipe' })
const [packed]: { filename: string; files: { path: string }[] }[] = JSON.parse(
  run(join(import.meta.dirname, '../dist'), 'npm', 'pack', '--json', '--pack-destination', folder),
)
const tarball = join(folder, packed?.filename ?? '')

/** Writes a project, installs the tarball without a network and returns the project's folder. */
function install(name: string, files: Record<string, string>): string {
  const project = mkdtempSync(join(folder, name))
  writeFileSync(join(project, 'package.json'), '{"private":true}')
  for (const [file, text] of Object.entries(files)) writeFileSync(join(project, file), text)
  run(project, 'npm', 'install', '--offline', '--no-audit', '--no-fund', tarball)
  return project
}

const program = `
const guard = createGuard({ mode: 'throw' })
const db = guard.drizzle({ transaction: async (work) => work() })
const error = await db.transaction(() => fetch('http://model.invalid/v1')).catch((e) => e.cause)
if (!(error instanceof ConnectionHeldError)) throw error
console.log(error.message)`

it('contains the program, its types, a README and the licence, and no dependencies', () => {
  const names = packed?.files.map(({ path }) => path) ?? []
  expect(names).toEqual(expect.arrayContaining(['index.js', 'index.d.ts', 'package.json', 'README.md', 'LICENSE']))
  expect(names.filter((name) => !/^(\w+\.(js|d\.ts)|package\.json|README\.md|LICENSE)$/.test(name))).toEqual([])
})

it.each([
  ['an ES module', 'main.mjs', `import { createGuard, ConnectionHeldError } from 'connection-guard'${program}`],
  [
    'CommonJS',
    'main.cjs',
    `const { createGuard, ConnectionHeldError } = require('connection-guard')\n;(async () => {${program}})()`,
  ],
])('works in an empty JavaScript project: %s', (_, name, text) => {
  const project = install('javascript', { [name]: text })
  expect(readdirSync(join(project, 'node_modules')).filter((entry) => !entry.startsWith('.'))).toEqual([
    'connection-guard',
  ])
  expect(run(project, process.execPath, name)).toMatch(
    /^GET http:\/\/model\.invalid\/v1 was called .* Taken at .*main\.[cm]js:\d+:\d+\)?, called at .*main\.[cm]js:\d+:\d+\)?\.$/m,
  )
})

it('has types for an empty TypeScript project without those of Node', () => {
  const project = install('typescript', {
    'main.ts': `import { createGuard, type Report } from 'connection-guard'
const reports: Report[] = []
const guard = createGuard({ mode: 'count', allow: ['localhost'], onReport: (report) => reports.push(report) })
const db = guard.drizzle({ transaction: async <T>(work: (tx: string) => Promise<T>): Promise<T> => work('tx') })
export const length: number = await db.transaction(async (tx) => tx.length)
// @ts-expect-error there is no such mode
createGuard({ mode: 'loud' })
// @ts-expect-error a pool has more methods
guard.pg({ connect: () => {} })
`,
    'tsconfig.json': JSON.stringify({
      compilerOptions: { strict: true, noEmit: true, module: 'nodenext', target: 'es2022', types: [] },
      include: ['main.ts'],
    }),
  })
  writeFileSync(join(project, 'package.json'), '{"private":true,"type":"module"}')
  run(project, process.execPath, join(root, 'node_modules/typescript/bin/tsc'))
  run(project, process.execPath, join(root, 'node_modules/typescript-6/bin/tsc'))
})
