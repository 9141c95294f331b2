import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createTestDatabase, type TestDatabase } from '@repo/db/testing'
import { startMockModel } from '@repo/testing/mock-model'
import { runProgram, startApi, startProgram } from '@repo/testing/processes'
import { afterAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'

// Real servers, right and wrong. `PROVE_RUNS=3` repeats each test.

const repeats = Number(process.env.PROVE_RUNS ?? 1) - 1
const folder = mkdtempSync(join(tmpdir(), 'prove-'))
const report = join(folder, 'report.html')
afterAll(() => rmSync(folder, { recursive: true }))

const mock = await startMockModel()
afterAll(mock.close)

/** Starts a server with a database of its own, and returns its URL, which it prints first. */
async function start(test: TestDatabase, ...[command = '', ...args]: string[]): Promise<string> {
  const child = spawn(command, [...args, test.directDatabaseUrl], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await test.drop()
  })
  const [line] = await once(createInterface(child.stdout), 'line')
  return String(line)
}

/** Returns the exit code and the verdict of `prove` with few streams. */
async function prove(test: TestDatabase, url: string, ...options: string[]) {
  const few = ['--levels', '1,5,10,20,60', '--hold', '0.4', '--wait', '4', '--report', report]
  const args = ['--url', url, '--database', test.directDatabaseUrl, ...few, ...options]
  const { code, out, err } = await runProgram('apps/prove/src/prove.ts', {}, ...args)
  const verdict = /^(Depends|Independent|Could not tell).*$/m.exec(out)?.[0] ?? err
  process.stdout.write(`${expect.getState().currentTestName}: ${verdict}\n`)
  return { code, verdict }
}

const independent = { code: 0, verdict: expect.stringMatching(/^Independent of up to 60 streams: 0\.0\d connections/) }
const dependent = { code: 1, verdict: expect.stringMatching(/^Depends on streams: (1\.[01]\d|0\.[89]\d) connections/) }
const unclear = { code: 2, verdict: expect.stringMatching(/^Could not tell/) }

describe('Fastify and Drizzle', { repeats }, () => {
  it.for<[path: string, expected: object, more?: RegExp]>([
    ['free', independent],
    ['limited', { code: 0 }, /^Independent of up to 50 streams: .* Failed streams: \d+ × status 429\.$/],
    ['short', unclear, /: answers end after \d ms/],
    ['broken', unclear, /: only 0 streams were open at a time.* status 500\.$/],
    ['early', { code: 1 }, /^Depends on streams: /], // its pool fills between two levels, so the slope varies
    ['held', dependent, / Of 10 streams 8 were open and 2 waited/],
  ])('%s', async ([path, expected, more = /./]) => {
    const test = await createTestDatabase()
    const url = await start(test, process.execPath, join(import.meta.dirname, '../servers/fastify.ts'))
    const outcome = await prove(test, `${url}/${path}`)
    expect(outcome).toMatchObject(expected)
    expect(outcome.verdict).toMatch(more)
  })
})

describe.for([
  ['FastAPI and SQLAlchemy', 'fastapi_app.py', 'fastapi, sqlalchemy, asyncpg, uvicorn'],
  ['an asynchronous view of Django', 'django_app.py', 'django, psycopg2, uvicorn'],
] as const)('%s', { repeats }, ([, file, modules]) => {
  // Debian's packages are for its own Python, which need not be the first one.
  const isReady = (name: string) => spawnSync(name, ['-c', `import ${modules}`]).status === 0
  const python = ['python3', '/usr/bin/python3'].find(isReady) ?? ''
  beforeEach(({ skip }) => skip(python === '', `Python with ${modules} is not installed`))

  it.for<[path: string, expected: object]>([
    ['free', independent],
    ['held', dependent],
  ])('%s', async ([path, expected]) => {
    const test = await createTestDatabase()
    const url = await start(test, python, join(import.meta.dirname, '../servers', file))
    expect(await prove(test, `${url}/${path}`)).toMatchObject(expected)
  })
})

describe('Sluice', { repeats }, () => {
  const ask = ['--body', '{"message":"Why? [mock tokens=300 interval=200]"}', '--wait', '15']
  const models = { OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock', EMBEDDING_MODEL: 'mock-384' }

  it.for(['databaseUrl', 'directDatabaseUrl'] as const)('is independent with %s', async (name) => {
    const test = await createTestDatabase()
    onTestFinished(test.drop)
    const { url } = await startApi({ ...models, DATABASE_URL: test[name] })
    const more = ['--pgbouncer', process.env.PGBOUNCER_ADMIN_URL ?? '', '--cheap', `${url}/health/ready`]
    expect(await prove(test, `${url}/chat`, ...ask, ...more)).toMatchObject(independent)
  })

  it.for<[name: string, expected: object]>([
    ['held', dependent],
    ['blocking', independent],
  ])('%s, its negative control', async ([name, expected], { skip }) => {
    const file = `apps/bench/src/variants/${name}.ts`
    skip(!existsSync(join(import.meta.dirname, '../../..', file)), 'the benchmark was removed')
    const test = await createTestDatabase()
    onTestFinished(test.drop)
    const { child } = startProgram(file, { ...models, DATABASE_URL: test.databaseUrl, PORT: '0' })
    const [line] = await once(createInterface(child.stdout), 'line')
    expect(await prove(test, `${JSON.parse(line).url}/chat`, ...ask)).toMatchObject(expected)
  })
})

it('writes a report of one page without scripts, other files and secrets', () => {
  const page = readFileSync(report, 'utf8')
  expect(page).toMatch(/<svg .*Postgres connections/s)
  expect(page).not.toMatch(/<script|(src|href)=|postgres:\/\//)
})
