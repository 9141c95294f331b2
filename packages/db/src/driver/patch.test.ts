import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { assertDriverPatched } from '../client.ts'
import { createTestDatabase } from '../testing.ts'

const database = await createTestDatabase()
const { databaseUrl, directDatabaseUrl } = database
const patched = import.meta.resolve('postgres')
const directory = mkdtempSync(join(tmpdir(), 'sluice-driver-'))
const unpatched = copyUnpatched(directory)

afterAll(async () => {
  rmSync(directory, { recursive: true })
  await database.drop()
})

const urls = [
  ['straight to Postgres', directDatabaseUrl],
  ['through PgBouncer', databaseUrl],
] as const

const lost = 'CONNECTION_CLOSED'
const [one, two] = [[{ one: 1 }], [{ two: 2 }]]

/** What a process with the patch reports; see testing-driver.ts. The numbers are issues of porsager/postgres. */
const promises = {
  'late statement': [lost, lost, one], // 1208
  'late statement, new connection': [lost, one, lost, []], // 1155
  'unsent statement': [
    [lost, lost],
    [one, two],
  ],
  'half a result': [expect.stringMatching('57P01|08P01'), one], // 1120, 1222; the code is the server's or PgBouncer's
  'statement after the end': ['22012', 'TRANSACTION_ENDED', []],
  'drained socket': ['22012', one, ['outside']], // 823, 1204
  'slow stranger': ['first', 'first', 'fast', 'fast', 'fast', 'slow'], // 747, 823
  'closed during startup': [lost, lost, lost, one], // 1193
  'silent server': [one, lost, one], // 1089
  'no TLS': ['SSL_REFUSED', ['0000000804d2162f']], // the server receives only the TLS request
}

describe.each(urls)('%s, the driver', (_, url) => {
  it.each([
    ['survives a transaction that continues after its connection was lost', 'late statement'],
    ['runs no statement of that transaction outside of it', 'late statement, new connection'],
    ['reconnects immediately', 'unsent statement'],
    ['reports why a connection was lost, and the next query gets its own result', 'half a result'],
    ['runs no statement after the end of its transaction', 'statement after the end'],
    ['runs no other query inside a transaction', 'drained socket'],
    ['queues no query behind a slow one', 'slow stranger'],
    ['rejects a query when the server accepts and closes the connection', 'closed during startup'],
    ['closes a connection that stops responding', 'silent server'],
    ['sends nothing unencrypted to a server without TLS', 'no TLS'],
  ] as const)('%s', async (_promise, scenario) => {
    expect(await run(scenario, patched, url)).toEqual(promises[scenario])
  })
})

describe('without the patch', () => {
  it.each(urls)('the process crashes %s', async (_, url) => {
    await expect(run('late statement', unpatched, url)).rejects.toThrow("of null (reading 'write')")
  })

  it.each(Object.entries(promises))('the guarantee fails: %s', async (scenario, promise) => {
    const outcome = await run(scenario, unpatched, directDatabaseUrl).catch(() => 'died')
    expect(outcome).not.toEqual(promise)
  })

  it('no pool is opened, and a one-line error says how to patch the driver', async () => {
    const load = async (url: string) => (await import(url)).default
    const [without, patchedDriver] = [await load(unpatched), await load(patched)]
    expect(() => assertDriverPatched(without)).toThrow(
      /^The postgres driver is not patched\. Run `npx patch-package .*$/,
    )
    expect(() => assertDriverPatched(patchedDriver)).not.toThrow()
  })
})

/** Returns what a child process reported. Rejects with its output when it crashes. */
async function run(scenario: string, driver: string, url: string): Promise<unknown> {
  const program = fileURLToPath(new URL('testing-driver.ts', import.meta.url))
  const child = spawn(process.execPath, [program, scenario, driver, url, directDatabaseUrl], { timeout: 120_000 })
  const [output, complaint, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  if (code !== 0) throw new Error(complaint)
  return JSON.parse(output)
}

/** Copies the driver as published. Returns the URL of its entry. */
function copyUnpatched(target: string): string {
  cpSync(new URL('..', patched), target, { recursive: true })
  const patch = readFileSync(new URL('../../patches/postgres+3.4.9.patch', import.meta.url), 'utf8')
  for (const file of patch.split(/^diff .*\n/m).slice(1)) {
    const path = join(target, /^\+\+\+ b\/node_modules\/postgres\/(.+)$/m.exec(file)?.[1] ?? '')
    const revert = (source: string, hunk: string) => {
      const lines = hunk.trimEnd().split('\n')
      const side = (sign: string) =>
        lines.flatMap((line) => (line.startsWith(sign) ? [] : [`${line.slice(1)}\n`])).join('')
      if (!source.includes(side('-'))) throw new Error(`${path} does not hold the patch`)
      return source.replace(side('-'), () => side('+'))
    }
    writeFileSync(
      path,
      file
        .split(/^@@.*\n/m)
        .slice(1)
        .reduce(revert, readFileSync(path, 'utf8')),
    )
  }
  return pathToFileURL(join(target, 'src/index.js')).href
}
