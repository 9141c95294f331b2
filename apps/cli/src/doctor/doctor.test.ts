import { once } from 'node:events'
import { createServer } from 'node:net'
import { readDoctorConfig } from '@repo/config'
import { connect, createStore, sql } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createModels } from '@repo/models'
import { ingestDocument } from '@repo/rag'
import { startMockModel } from '@repo/testing/mock-model'
import { startApi } from '@repo/testing/processes'
import { sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { checks } from './checks.ts'
import { checkVersion, examine } from './examine.ts'

const test = await createTestDatabase()
const other = await createTestDatabase()
const mock = await startMockModel()
const healthy = {
  DATABASE_URL: test.databaseUrl,
  DIRECT_DATABASE_URL: test.directDatabaseUrl,
  PGBOUNCER_ADMIN_URL: process.env.PGBOUNCER_ADMIN_URL,
  PORT: '0',
}

afterAll(async () => {
  await Promise.all([mock.close(), test.drop(), other.drop()])
})

async function report(env: Record<string, string | undefined>): Promise<string[]> {
  const lines: string[] = []
  for await (const { line } of examine(checks, readDoctorConfig({ ...healthy, ...env }))) lines.push(line)
  return lines
}

/** Returns the findings that are not `ok`. */
async function diagnose(env: Record<string, string | undefined>): Promise<string[]> {
  return (await report(env)).filter((line) => !line.startsWith('ok '))
}

const line = (start: string) => expect.stringMatching(new RegExp(`^${start}`))
const skipped = (names: string[], cause: string) => names.map((name) => `skip  ${name}: requires ${cause} (see above)`)

async function listen(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

it('reports no problem in a healthy setup with offline or remote models', async () => {
  expect(await diagnose({})).toEqual([])
  expect(await diagnose({ OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock' })).toEqual([])
})

it('skips checks that need DIRECT_DATABASE_URL or PGBOUNCER_ADMIN_URL when these are not set, as in the API’s container', async () => {
  expect(await diagnose({ DIRECT_DATABASE_URL: undefined, PGBOUNCER_ADMIN_URL: undefined })).toEqual([
    'skip  pgbouncer: PGBOUNCER_ADMIN_URL is not set or invalid',
    'skip  direct: DIRECT_DATABASE_URL is not set or invalid',
    ...skipped(['same database'], 'direct'),
  ])
})

it.each([
  ['17.6 (Debian 17.6-0)', '17', 'ok'],
  ['16.10', '17', 'FAIL'],
  ['9.6', '17', 'FAIL'],
  ['0.8.0', '0.8', 'ok'],
  ['0.10.1', '0.8', 'ok'],
  ['0.7.4', '0.8', 'FAIL'],
  ['1.21', '1.21', 'ok'],
  ['1.9.0', '1.21', 'FAIL'],
])('compares version %s with minimum %s: %s', (version, minimum, level) => {
  expect(checkVersion('It', version, minimum, 'update it').level).toBe(level)
})

describe('the environment', () => {
  it('is reported with one line per invalid variable, and checks that do not need these still run', async () => {
    expect(await diagnose({ AUTH: 'off', NODE_ENV: 'production' })).toEqual([
      line('FAIL  environment: AUTH cannot be off with NODE_ENV=production. Set AUTH=required. Fix: '),
    ])
    expect(await diagnose({ PORT: 'high', CHAT_MODEL: 'gpt', DIRECT_DATABASE_URL: 'secret' })).toEqual([
      line('FAIL  environment: PORT must be a whole number'),
      line('FAIL  environment: DIRECT_DATABASE_URL must be a URL like'),
      'skip  port: PORT is not set or invalid',
      'skip  direct: DIRECT_DATABASE_URL is not set or invalid',
      ...skipped(['same database'], 'direct'),
      ...['models', 'chat model', 'embedder', 'reranker', 'stored vectors'].map(
        (name) => `skip  ${name}: a model variable is not set or invalid`,
      ),
      ...skipped(['vector index'], 'embedder'),
    ])
  })
})

describe('the port', () => {
  it('is in use by the API, and the line says whether it requires a key', async () => {
    const api = await startApi({ DATABASE_URL: test.databaseUrl })
    expect(await report({ PORT: new URL(api.url).port })).toContain(
      `ok    port: the API is running at ${api.url}, without keys (AUTH=off)`,
    )
  })

  it('is in use by another program', async () => {
    const { port: PORT } = new URL(mock.url)
    expect(await diagnose({ PORT })).toEqual([
      `FAIL  port: ${PORT} is in use by another program. Fix: stop that program, or set PORT to a free port`,
    ])
  })

  it('is on an address that does not belong to this machine', async () => {
    expect(await diagnose({ HOST: '192.0.2.1' })).toEqual([line('FAIL  port: .*EADDRNOTAVAIL.*set HOST to an address')])
  })
})

describe('the database', () => {
  const needDatabase = ['versions', 'pooler']
  const afterDirect = ['same database', 'migrations']

  it('is not running', async () => {
    const DATABASE_URL = 'postgres://sluice:hunter2@127.0.0.1:9/sluice'
    const lines = await diagnose({ DATABASE_URL })
    expect(lines).toEqual([
      line('FAIL  database: connect ECONNREFUSED 127.0.0.1:9. Fix: start it .* DATABASE_URL'),
      ...skipped(needDatabase, 'database'),
      ...skipped(afterDirect, 'database'),
      ...skipped(['settings', 'stored vectors', 'stored words', 'vector index'], 'migrations'),
    ])
    expect(lines.join()).not.toContain('hunter2')
  })

  it('does not respond, so that the check times out after five seconds', async () => {
    const DATABASE_URL = `postgres://sluice:hunter2@127.0.0.1:${await listen()}/sluice`
    expect((await diagnose({ DATABASE_URL }))[0]).toMatch(/^FAIL {2}database: no response within 5 s\. Fix: /)
  })

  it('rejects the password', async () => {
    const DATABASE_URL = test.databaseUrl.replace(/:\w{32}@/, ':hunter2@')
    expect((await diagnose({ DATABASE_URL }))[0]).toMatch(/^FAIL {2}database: .*authentication failed/)
  })

  it('has a newer migration, or lacks one', async () => {
    const { db, close } = connect({ url: other.directDatabaseUrl, poolSize: 1 })
    onTestFinished(close)
    const urls = { DATABASE_URL: other.databaseUrl, DIRECT_DATABASE_URL: other.directDatabaseUrl }
    await db.execute(sql`update drizzle.__drizzle_migrations set created_at = 1e15 where id = 1`)
    expect(await diagnose(urls)).toEqual([line('warn  migrations: the database has newer migrations')])
    await db.execute(sql`delete from drizzle.__drizzle_migrations`)
    expect(await diagnose(urls)).toEqual([
      line('FAIL  migrations: [1-9] of \\d are missing. Fix: run `npm run db:migrate`'),
      ...skipped(['settings', 'stored vectors', 'stored words', 'vector index'], 'migrations'),
    ])
    await db.execute(sql`drop schema drizzle cascade`)
    expect(await diagnose(urls)).toContainEqual(line('FAIL  migrations: (\\d) of \\1 are missing'))
  })

  it('is not the one in DIRECT_DATABASE_URL', async () => {
    expect(await diagnose({ DIRECT_DATABASE_URL: other.directDatabaseUrl })).toEqual([
      line('FAIL  same database: DATABASE_URL and DIRECT_DATABASE_URL point to different databases'),
    ])
  })

  it('has lost a setting that db:migrate makes', async () => {
    const fresh = await createTestDatabase()
    const { db, close } = connect({ url: fresh.directDatabaseUrl, poolSize: 1 })
    const name = sql.identifier(new URL(fresh.databaseUrl).pathname.slice(1))
    await db.execute(sql`alter database ${name} reset statement_timeout`)
    const lines = await diagnose({ DATABASE_URL: fresh.databaseUrl, DIRECT_DATABASE_URL: fresh.directDatabaseUrl })
    expect(lines).toEqual([
      line('warn  settings: statement_timeout is 0 instead of \\w+. Fix: run `npm run db:migrate`'),
    ])
    await close()
    await fresh.drop()
  })
})

describe('the pooler', () => {
  it('is missing: DATABASE_URL connects to Postgres directly', async () => {
    expect(await diagnose({ DATABASE_URL: test.directDatabaseUrl })).toEqual([
      line('FAIL  pooler: DATABASE_URL connects to Postgres directly. Fix: set it to PgBouncer'),
    ])
  })

  it('is in DIRECT_DATABASE_URL by mistake', async () => {
    expect(await diagnose({ DIRECT_DATABASE_URL: test.databaseUrl })).toEqual([
      line('FAIL  direct: DIRECT_DATABASE_URL connects through a pooler. Fix: set it to Postgres'),
      ...skipped(['same database'], 'direct'),
    ])
  })
})

describe('the models', () => {
  const at = (url: string) => ({ OPENAI_BASE_URL: url, OPENAI_API_KEY: 'sk-hunter2' })

  it('cannot be reached', async () => {
    const env = { ...at('http://127.0.0.1:9/v1'), CHAT_MODEL: 'away', EMBEDDING_MODEL: 'away' }
    expect(await diagnose(env)).toEqual([
      line('FAIL  chat model: .*Check the base URL, and that the server is running. Fix: set CHAT_MODEL'),
      line('FAIL  embedder: .*Check the base URL, and that the server is running. Fix: set EMBEDDING_MODEL'),
      ...skipped(['vector index'], 'embedder'),
    ])
  })

  it('are all checked, each on its own server', async () => {
    const CHAT_MODELS = JSON.stringify([{ name: 'good' }, { name: 'away', baseUrl: 'http://127.0.0.1:9/v1' }])
    const lines = await report({ OPENAI_BASE_URL: mock.url, CHAT_MODEL: 'mock', CHAT_MODELS })
    expect(lines.filter((text) => text.includes('chat model:'))).toEqual([
      'ok    chat model: mock responds',
      'ok    chat model: good responds',
      line('FAIL  chat model: away: .*Check the base URL'),
    ])
  })

  it('reject the key, which is not shown', async () => {
    const lines = await diagnose({ ...at(mock.url), CHAT_MODEL: 'mock?fault=401', EMBEDDING_MODEL: 'mock?fault=401' })
    expect(lines.slice(0, 2)).toEqual([
      line('FAIL  chat model: mock.fault=401: The model server responded with 401. Check the API key'),
      line('FAIL  embedder: The model server responded with 401. Check the API key'),
    ])
    expect(lines.join()).not.toContain('hunter2')
  })

  it('are not listed by their server, which is only a warning', async () => {
    const upstream = await startUpstream()
    upstream.models.push('a', 'b')
    const lines = await report({ OPENAI_BASE_URL: upstream.url, CHAT_MODEL: 'c' })
    expect(lines).toContainEqual(
      line('warn  models: The model server does not list c. It lists a, b. Fix: correct CHAT'),
    )
  })

  it('include the reranker, if one is configured', async () => {
    const upstream = await startUpstream()
    const env = { RERANK_BASE_URL: upstream.url, RERANK_MODEL: 'bge' }
    upstream.next(sendJson({ results: [0, 1].map((index) => ({ index, relevance_score: index })) }))
    expect(await report(env)).toContain('ok    reranker: bge responds')
    upstream.next(sendJson({ data: [] }))
    expect(await diagnose(env)).toEqual([line('FAIL  reranker: .*Fix: set RERANK_BASE_URL')])
  })

  it('do not respond, so that the check times out after five seconds', async () => {
    expect(await diagnose({ ...at(mock.url), CHAT_MODEL: 'mock?fault=hang' })).toEqual([
      line('FAIL  chat model: mock.fault=hang: no response within 5 s'),
    ])
  })

  it('are new: documents have vectors from another model only, and there is no index', async () => {
    await ingest({})
    expect(await diagnose({ ...at(mock.url), EMBEDDING_MODEL: 'mock-32' })).toEqual([
      'warn  stored vectors: documents indexed with offline-384 (1) are matched by keyword only. Fix: run `npm run manage -- reindex`',
      line('warn  vector index: mock-32 has none.*Fix: run `npm run db:migrate`'),
    ])
  })

  it('have words that were split by another version', async () => {
    const { db, close } = connect({ url: test.directDatabaseUrl, poolSize: 1 })
    onTestFinished(close)
    await ingest({})
    await db.execute(sql`update chunks set tokenizer = '0'`)
    onTestFinished(async () => void (await db.execute(sql`delete from documents`)))
    expect(await diagnose({})).toContain(
      'warn  stored words: some documents are not found by keyword: words are now split differently. Fix: run `npm run manage -- reindex`',
    )
  })

  it('return vectors with another number of dimensions than the stored ones', async () => {
    const env = { ...at(mock.url), EMBEDDING_MODEL: 'mock-8' }
    await ingest(env)
    const { db, close } = connect({ url: test.directDatabaseUrl, poolSize: 1 })
    onTestFinished(close)
    await db.execute(sql`update chunks set embedding = '[1,2,3]' where embedding_model = ${env.EMBEDDING_MODEL}`)
    expect(await diagnose(env)).toContainEqual(
      line('FAIL  vector index: stored vectors of mock-8 have 3 dimensions, new ones have 8.*EMBEDDING_DIMENSIONS=8'),
    )
  })
})

async function ingest(env: Record<string, string>) {
  const { models } = readDoctorConfig(env)
  if (!models) throw new Error('invalid environment')
  const { db, close } = connect({ url: test.databaseUrl, poolSize: 1 })
  const store = createStore(db)
  const { embedder } = createModels(models)
  await ingestDocument({ store, embedder }, await store.owners.ensure('ada'), {
    title: 'Tides',
    text: 'The tide turns.',
  })
  await close()
}
