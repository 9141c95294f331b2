import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { readManageConfig } from '@repo/config'
import { connect, createKey, createKeyring, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createModels } from '@repo/models'
import { ingestDocument, retrievePassages } from '@repo/rag'
import { startMockModel } from '@repo/testing/mock-model'
import { runProgram, startApi } from '@repo/testing/processes'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'

const test = await createTestDatabase()
const DATABASE_URL = test.databaseUrl
afterAll(test.drop)

describe('create-key', () => {
  it('prints only a key, which a running server accepts at once', async () => {
    const api = await startApi({ DATABASE_URL, AUTH: 'required' })
    const ask = async (authorization: string) =>
      (await fetch(`${api.url}/conversations`, { headers: { authorization } })).status
    const { code, out, err } = await runProgram(
      'apps/cli/dist/manage.js',
      { DATABASE_URL },
      'create-key',
      '--owner',
      'ada',
    )
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^sl_\w{16}_[\w-]{43}\n$/)
    expect(await ask(`Bearer ${out.trim()}`)).toBe(200)
    expect(await ask(`Bearer ${out.trim().slice(0, -1)}`)).toBe(401)
    expect(api.written.out).not.toContain(out.trim().slice(-43))
  })

  it('reports in one line that DATABASE_URL is not set and what to do', async () => {
    const { code, out, err } = await runProgram('apps/cli/dist/manage.js', {}, 'create-key', '--owner', 'ada')
    expect(err).toMatch(/^DATABASE_URL is not set.*npm start.*\n$/)
    expect({ code, out }).toEqual({ code: 1, out: '' })
  })

  it('reports in one line that the database does not respond', async () => {
    const env = { DATABASE_URL: 'postgres://sluice:hunter2@127.0.0.1:9/sluice' }
    const { code, err } = await runProgram('apps/cli/dist/manage.js', env, 'create-key', '--owner', 'ada')
    expect(err).toMatch(/^Command failed: .*ECONNREFUSED.*\n$/)
    expect(err).not.toContain('hunter2')
    expect(code).toBe(1)
  })
})

describe('list-keys and revoke-key', async () => {
  const { db, close } = connect({ url: DATABASE_URL, poolSize: 1 })
  const limits = { expiresAt: new Date(Date.now() + 3_600_000), scopes: ['read' as const, 'chat' as const] }
  const secrets = [await createKey(createStore(db), 'Grace Hopper'), await createKey(createStore(db), 'alan', limits)]
  const [graces = '', alans = ''] = secrets.map((key) => key.slice(3, 19))
  await createStore(db).owners.recordKeyUsage([graces])
  await close()
  const manage = (...args: string[]) => runProgram('apps/cli/dist/manage.js', { DATABASE_URL }, ...args)

  it('list every key with its last use and its owner, without the secret', async () => {
    const { code, out, err } = await manage('list-keys')
    const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`
    expect(out).toMatch(/^id +created +last used +expires +revoked +scopes +owner\n/)
    expect(out).toMatch(new RegExp(`^${graces}  ${time}  ${time}  - +- +all +Grace Hopper$`, 'm'))
    expect(out).toMatch(new RegExp(`^${alans}  ${time}  - +${time}  - +read,chat +alan$`, 'm'))
    for (const secret of secrets) expect(out).not.toContain(secret.slice(-43))
    expect(out).not.toMatch(/[0-9a-f]{64}/)
    expect({ code, err }).toEqual({ code: 0, err: '' })
  })

  it('revoke a key, which a running server rejects at once, and print the same when repeated', async () => {
    const api = await startApi({ DATABASE_URL, AUTH: 'required' })
    const ask = async () =>
      (await fetch(`${api.url}/conversations`, { headers: { authorization: `Bearer ${secrets[1]}` } })).status
    expect(await ask()).toBe(200)
    const { code, out, err } = await manage('revoke-key', alans)
    expect(out).toMatch(new RegExp(`^Key ${alans} \\(owner alan\\) was revoked at [\\d:TZ-]+\\.\n$`))
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(await ask()).toBe(401)
    expect(await manage('revoke-key', alans)).toEqual({ code, out, err })
  })

  it('report an unknown key in one line', async () => {
    const { code, out, err } = await manage('revoke-key', '0'.repeat(16))
    expect(err).toMatch(/^No key has the ID 0{16}\. .*list-keys.*\n$/)
    expect({ code, out }).toEqual({ code: 1, out: '' })
  })
})

describe('create-key and rotate-key', () => {
  const manage = (...args: string[]) => runProgram('apps/cli/dist/manage.js', { DATABASE_URL }, ...args)
  const { db, close } = connect({ url: DATABASE_URL, poolSize: 1 })
  afterAll(close)
  const find = async (key: string) => (await createKeyring(db).list()).find(({ id }) => key.startsWith(`sl_${id}_`))

  it('create a key with an expiry and scopes, and replace it while both work', async () => {
    const api = await startApi({ DATABASE_URL, AUTH: 'required' })
    const ask = async (key: string, method = 'GET') => {
      const headers = { authorization: `Bearer ${key}` }
      return (await fetch(`${api.url}/documents`, { method, headers })).status
    }
    const made = await manage('create-key', '--owner', 'joan', '--expires', '90d', '--scopes', 'documents, read')
    const old = made.out.trim()
    expect({ ...made, key: await find(old) }).toMatchObject({
      ...{ code: 0, err: '' },
      key: { scopes: ['read', 'documents'], expiresAt: expect.any(Date) },
    })
    const { code, out, err } = await manage('rotate-key', old.slice(3, 19))
    expect(code).toBe(0)
    expect(out).toMatch(/^sl_\w{16}_[\w-]{43}\n$/)
    expect(err).toMatch(new RegExp(`^Key ${old.slice(3, 19)} \\(owner joan\\) expires at [\\d:TZ-]+\\.\n$`))
    expect(await Promise.all([old, out.trim()].map((key) => ask(key)))).toEqual([200, 200])
    const { id, createdAt, expiresAt, ...same } = (await find(old)) ?? {}
    expect(await find(out.trim())).toMatchObject(same)
    await manage('rotate-key', out.slice(3, 19), '--overlap=0h')
    expect(await ask(out.trim())).toBe(401)
  })

  it.each([
    ['create-key --owner ada --expires soon', 'Invalid expiry "soon". Use a duration like 90d or 12h, or a date'],
    ['create-key --owner ada --scopes read,write', 'Unknown scope "write". Use some of read, chat, documents'],
    ['create-key --owner ada --scopes=', 'Unknown scope "". Use some of read, chat, documents'],
    ['create-key --owner ada --scope read', 'create-key has no option --scope. It has --owner, --expires, --scopes'],
    ['create-key --owner ada --tokens-per-day many', 'Invalid number of tokens "many". Use a whole number'],
    ['rotate-key 0000 --overlap 1y', 'Invalid overlap "1y". Use a duration like 24h or 7d.'],
    ['rotate-key 0000', 'No key has the ID 0000. `npm run manage -- list-keys` lists all keys.'],
  ])('“%s” creates no key, and says in one line why', async (args, problem) => {
    const before = await createKeyring(db).list()
    const { code, out, err } = await manage(...args.split(' '))
    expect({ code, out, lines: err.trim().split('\n').length }).toEqual({ code: 1, out: '', lines: 1 })
    expect(err).toContain(`Command failed: ${problem}`)
    expect(await createKeyring(db).list()).toEqual(before)
  })
})

describe('feedback', async () => {
  const { db, close } = connect({ url: DATABASE_URL, poolSize: 1 })
  const { owners, turns, conversations } = createStore(db)
  for (const name of ['mary', 'dorothy']) {
    const owner = await owners.ensure(name)
    const question = `What does ${name} ask?`
    await turns.open(owner, { conversationId: 'c', title: 'a title', questionId: 'q', question, answerId: name })
    await conversations.rate(owner, 'c', name, { value: -1, comment: 'Zwei\nZeilen' })
  }
  await close()
  const manage = (...args: string[]) => runProgram('apps/cli/dist/manage.js', { DATABASE_URL }, 'feedback', ...args)
  const tomorrow = new Date(Date.now() + 24 * 60 * 60_000).toISOString()

  it('prints one JSON line per rated answer, with its question', async () => {
    const { code, out, err } = await manage()
    const lines = out.trim().split('\n')
    const rows = lines.map((line) => JSON.parse(line))
    expect(rows.map(({ owner }) => owner)).toEqual(['mary', 'dorothy'])
    expect(rows[0]).toMatchObject({
      value: -1,
      comment: 'Zwei\nZeilen',
      question: 'What does mary ask?',
      messageId: 'mary',
    })
    expect({ code, err }).toEqual({ code: 0, err: '' })
  })

  it.each([
    [['--owner', 'dorothy'], 1],
    [['--owner=dorothy', '--since', '2026-01-01'], 1],
    [['--since', tomorrow], 0],
  ])('%j limits it', async (args, count) => {
    const { code, out } = await manage(...args)
    expect({ code, lines: out.split('\n').length - 1 }).toEqual({ code: 0, lines: count })
  })

  it.each([
    [['--owner', 'nobody'], /^Command failed: No owner has the name nobody\. .*list-keys.*\n$/],
    [['--since', 'yesterday'], /^Command failed: Invalid date yesterday\. Use a date like .*\n$/],
    [['--since', '2026-13-01'], /^Command failed: Invalid date 2026-13-01\. Use a date like .*\n$/],
  ])('%j fails with one line', async (args, message) => {
    const { code, out, err } = await manage(...args)
    expect(err).toMatch(message)
    expect({ code, out }).toEqual({ code: 1, out: '' })
  })
})

describe('doctor', () => {
  const healthy = {
    DATABASE_URL,
    DIRECT_DATABASE_URL: test.directDatabaseUrl,
    PGBOUNCER_ADMIN_URL: process.env.PGBOUNCER_ADMIN_URL ?? '',
    PORT: '0',
  }

  it('prints the database that it checked, one line per finding and no password, and succeeds', async () => {
    const { code, out, err } = await runProgram('apps/cli/dist/manage.js', healthy, 'doctor')
    const { host, pathname, password } = new URL(DATABASE_URL)
    expect(out).toContain(`ok    environment: DATABASE_URL is ${host}${pathname}\n`)
    expect(out).toMatch(/^(ok {4}[a-z ]+: .+\n){16,}$/)
    expect(out).not.toContain(password)
    expect({ code, err }).toEqual({ code: 0, err: '' })
  })

  it('fails when any check fails, even with no variable set', async () => {
    const { code, out, err } = await runProgram('apps/cli/dist/manage.js', {}, 'doctor')
    expect(out).toMatch(/^FAIL {2}environment: DATABASE_URL is not set\. .*\. Fix: .*\n/)
    expect(out).toContain('\nok    embedder: ')
    expect({ code, err }).toEqual({ code: 1, err: '' })
  })

  it('says how to patch an unpatched driver, and runs the other checks', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-doctor-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    cpSync(new URL('..', import.meta.resolve('postgres')), directory, { recursive: true })
    const patch = new URL('../../../packages/db/patches/postgres+3.4.9.patch', import.meta.url)
    execFileSync('git', ['apply', '--reverse', '-p3', fileURLToPath(patch)], { cwd: directory })
    const url = pathToFileURL(join(directory, 'src/index.js')).href
    const resolve = `(name, context, next) => name === 'postgres' ? { url: '${url}', shortCircuit: true } : next(name, context)`
    const hook = `import { registerHooks } from 'node:module'; registerHooks({ resolve: ${resolve} })`
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(hook)}`
    // The source, as in `npm run manage`, because a bundle contains its driver.
    const { code, out } = await runProgram('apps/cli/src/manage.ts', { ...healthy, NODE_OPTIONS }, 'doctor')
    expect(out.split('\n').filter((line) => !line.startsWith('ok '))).toEqual([
      expect.stringMatching(/^FAIL {2}driver: The postgres driver is not patched\. Run `npx patch-package /),
      '',
    ])
    expect(code).toBe(1)
  })
})

describe('another embedder', () => {
  it('is reported by db:migrate until reindex has run; until then documents are matched by keyword', async () => {
    const mock = await startMockModel()
    onTestFinished(mock.close)
    const { db, close } = connect({ url: DATABASE_URL, poolSize: 1 })
    onTestFinished(close)
    const store = createStore(db)
    const owner = await store.owners.ensure('ada')
    const env = { DATABASE_URL, DIRECT_DATABASE_URL: test.directDatabaseUrl }
    const switched = { ...env, OPENAI_BASE_URL: mock.url, EMBEDDING_MODEL: 'mock-32' }
    const modelsOf = (environment: Record<string, string>) => createModels(readManageConfig(environment))
    const ask = async (question: string) =>
      (await retrievePassages({ store, embedder: modelsOf(switched).embedder }, owner, question, { limit: 5 })).map(
        ({ title }) => title,
      )
    const migrate = async () => (await runProgram('apps/cli/dist/migrate.js', switched)).out.split('\n').slice(1, -1)
    const noSuchWord = 'zyzzyva' // no keyword matches it, so a result comes from the vectors

    const document = { title: 'Tides', text: 'The tide turns.' }
    await ingestDocument({ store, embedder: modelsOf(env).embedder }, owner, document)
    expect(await migrate()).toEqual([
      'Documents indexed with another embedding model (1) are matched by keyword only. Run `npm run manage -- reindex`.',
    ])
    expect([await ask('When does the tide turn?'), await ask(noSuchWord)]).toEqual([['Tides'], []])

    const { code, out, err } = await runProgram('apps/cli/dist/manage.js', switched, 'reindex')
    expect(out).toBe('1 of 1 done\n1 embedded with mock-32, 0 failed\n')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect([await ask('When does the tide turn?'), await ask(noSuchWord)]).toEqual([['Tides'], ['Tides']])
    expect(await migrate()).toEqual([])
  })

  it('that cannot be reached makes reindex fail with one line', async () => {
    const env = { DATABASE_URL, OPENAI_BASE_URL: 'http://127.0.0.1:9/v1', EMBEDDING_MODEL: 'away' }
    const { code, out, err } = await runProgram('apps/cli/dist/manage.js', env, 'reindex')
    expect(err).toMatch(/^Command failed: .*Check the base URL.*\n$/)
    expect({ code, out }).toEqual({ code: 1, out: '' })
  })
})

it.each([
  '',
  'create-key',
  'create-key --owner=',
  'revoke-key',
  'revoke-key a b',
  'rotate-key',
  'list-keys a',
  'ingest',
  'feedback all',
  'feedback --since',
  'destroy --owner ada',
])('prints the usage of every command after “%s”', async (args) => {
  const { code, out, err } = await runProgram('apps/cli/dist/manage.js', { DATABASE_URL }, ...args.split(' '))
  for (const command of [
    'doctor',
    'create-key --owner NAME',
    'list-keys',
    'rotate-key ID',
    'revoke-key ID',
    'ingest PATH…',
    'reindex',
    'feedback',
    'usage',
  ])
    expect(err).toMatch(new RegExp(`^npm run manage -- ${command} +\\w.*$`, 'm'))
  expect({ code, out }).toEqual({ code: 2, out: '' })
})
