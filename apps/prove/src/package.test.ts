import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'

const folder = mkdtempSync(join(tmpdir(), 'prove-package-'))
const local = ['--url', 'http://127.0.0.1:9/chat', '--database', 'postgres://127.0.0.1:9/app']
const program = join(import.meta.dirname, 'prove.ts')
const prove = (...args: string[]) => spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })

it('installs from its tarball into an empty project, and npx runs it', () => {
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const npm = (cwd: string, command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd, encoding: 'utf8', stdio: 'pipe' })
  npm(folder, process.execPath, join(import.meta.dirname, '../build.ts'))
  const out = npm(join(import.meta.dirname, '../dist'), 'npm', 'pack', '--json', '--pack-destination', folder)
  const [packed]: { filename: string; files: { path: string }[] }[] = JSON.parse(out)
  expect(packed?.files.map(({ path }) => path).sort()).toEqual(
    ['LICENSE', 'README.md', 'package.json', 'prove-streams.mjs'].sort(),
  )
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  npm(folder, 'npm', 'install', '--offline', '--no-audit', '--no-fund', join(folder, packed?.filename ?? ''))
  expect(npm(folder, 'npx', '--no-install', 'prove-streams', '--help')).toContain('Exit codes: 0 independent')
})

it.each([
  ['no options', [], '--url and --database are required. --help shows all options.\n'],
  ['an unknown option', [...local, '--nonsense'], "Unknown option '--nonsense'"],
  ['another protocol', [...local, '--url', 'ftp://127.0.0.1/'], '--url must be a URL that begins with http://'],
  ['another machine', [...local, '--url', 'http://example.com/'], '--url leads to example.com, another machine.'],
  [
    'another database',
    [...local, '--database', 'postgres://127.0.0.1@db/a'],
    '--database leads to db, another machine.',
  ],
  ['another host in the query', [...local, '--pgbouncer', 'postgres:///a?host=db'], '--pgbouncer leads to db, another'],
  ['falling levels', [...local, '--levels', '10,1'], '--levels must be growing whole numbers of at most 1000'],
  ['too many streams', [...local, '--levels', '1001'], '--levels must be growing whole numbers of at most 1000'],
  ['no time', [...local, '--hold', '0'], '--hold must be a number above 0 and at most 60.'],
  ['an invalid header', [...local, '--header', 'a: b\nc: d'], "--header must be 'NAME: VALUE'."],
  ['a missing file', [...local, '--body', '@/missing'], 'no such file'],
  ['a database that does not respond', local, 'ECONNREFUSED'],
  ['a host of its owner', [...local, '--cheap', 'http://10.0.0.1/', '--i-own-this-server'], 'ECONNREFUSED'],
])('exits with 2 for %s, and says why', (_, args, message) => {
  const { status, stderr } = prove(...args)
  expect(stderr).toContain(message)
  expect(stderr.trim().split('\n')).toHaveLength(1)
  expect(status).toBe(2)
})

it('closes all streams when it is interrupted', async () => {
  const server = createServer((_, response) => void response.write('data: 1\n\n'))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void server.close())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const url = `http://127.0.0.1:${port}`
  const database = process.env.DIRECT_DATABASE_URL ?? ''
  const child = spawn(process.execPath, [program, '--url', `${url}/`, '--database', database, '--hold', '0.2'])
  const ended = once(child, 'close')
  const count = () => new Promise<number>((resolve) => server.getConnections((_, open) => resolve(open)))
  await expect.poll(count).toBeGreaterThan(20)
  child.kill('SIGINT')
  expect(await ended).toEqual([130, null])
  await expect.poll(count).toBe(0)
})
