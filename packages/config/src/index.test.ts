import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  ConfigError,
  findEmbeddingServer,
  readConfig,
  readDoctorConfig,
  readManageConfig,
  readMigrationConfig,
} from './index.ts'

const url = 'postgres://sluice:secret@127.0.0.1:6432/sluice'
const valid = { DATABASE_URL: url }
const aUrl = 'it should be a URL like postgres://user:password@host:6432/database'

function readProblem(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    if (error instanceof ConfigError) return error.message
  }
  return 'no problem'
}

describe('one line says which variable is wrong and what it should be', () => {
  it.each([
    ['DATABASE_URL', undefined, `DATABASE_URL is not set: ${aUrl}`],
    ['DATABASE_URL', '', `DATABASE_URL is not set: ${aUrl}`],
    [
      'DATABASE_URL',
      'mysql://host/db',
      'DATABASE_URL should be a URL like postgres://user:password@host:6432/database',
    ],
    ['DATABASE_POOL_SIZE', '0', 'DATABASE_POOL_SIZE should be at least 1'],
    [
      'PGBOUNCER_ADMIN_URL',
      'localhost',
      'PGBOUNCER_ADMIN_URL should be a URL like postgres://user:password@host:6432/database',
    ],
    ['PORT', 'abc', 'PORT should be a whole number'],
    ['PORT', '80.5', 'PORT should be a whole number'],
    ['PORT', '65536', 'PORT should be at most 65535'],
    ['LOG_LEVEL', 'loud', 'LOG_LEVEL should be fatal or error or warn or info or debug or trace or silent'],
    ['WEB_CONCURRENCY', '-1', 'WEB_CONCURRENCY should be at least 1'],
    ['MAX_STREAMS', '0', 'MAX_STREAMS should be at least 1'],
    ['DRAIN_TIMEOUT_MS', '-1', 'DRAIN_TIMEOUT_MS should be at least 0'],
    ['MODEL_FIRST_BYTE_TIMEOUT_MS', 'soon', 'MODEL_FIRST_BYTE_TIMEOUT_MS should be a whole number'],
    ['MODEL_IDLE_TIMEOUT_MS', '0', 'MODEL_IDLE_TIMEOUT_MS should be at least 1'],
    ['OPENAI_BASE_URL', 'localhost:11434', 'OPENAI_BASE_URL should be a URL like https://api.openai.com/v1'],
    ['CHAT_MODEL', 'gpt-5', 'OPENAI_API_KEY is needed for api.openai.com; or set OPENAI_BASE_URL to another server'],
    ['EMBEDDING_MODEL', 'ada', 'OPENAI_API_KEY is needed for api.openai.com; or set OPENAI_BASE_URL to another server'],
    ['EMBEDDING_BASE_URL', 'localhost', 'EMBEDDING_BASE_URL should be a URL like https://api.openai.com/v1'],
    ['EMBEDDING_DIMENSIONS', '20000', 'EMBEDDING_DIMENSIONS should be at most 16000'],
    ['AUTH', 'none', 'AUTH should be required or off'],
    [
      'JWT_ISSUER',
      'https://login.example',
      'JWT_AUDIENCE is needed beside JWT_ISSUER: the `aud` of its tokens for this API',
    ],
    ['JWT_AUDIENCE', 'api', 'JWT_ISSUER is needed beside JWT_AUDIENCE: the URL of who signs the tokens'],
    ['TRUST_PROXY', 'perhaps', 'TRUST_PROXY should be true or false'],
  ])('%s=%s', (name, value, message) => {
    expect(readProblem(() => readConfig({ ...valid, [name]: value }))).toBe(message)
  })

  it.each(['https://chat.example/', 'https://chat.example/app', 'chat.example', 'localhost:5173', '*'])(
    'CORS_ORIGINS=https://a.example,%s',
    (origin) => {
      const problem = readProblem(() => readConfig({ ...valid, CORS_ORIGINS: `https://a.example,${origin}` }))
      expect(problem).toBe('CORS_ORIGINS should be origins like https://chat.example, separated by commas')
    },
  )

  it.each([
    'login.example',
    'ftp://login.example',
    'http://login.example',
    'https://login.example?a=b',
    'https://login.example#a',
  ])('JWT_ISSUER=%s', (JWT_ISSUER) => {
    expect(readProblem(() => readConfig({ ...valid, JWT_ISSUER, JWT_AUDIENCE: 'api' }))).toBe(
      'JWT_ISSUER should be a URL like https://login.example without ? and #; http is for this machine alone',
    )
  })

  it('each of several wrong ones', () => {
    const lines = readProblem(() => readConfig({ PORT: '-1', AUTH: 'on' })).split('\n')
    expect(lines).toEqual([
      `DATABASE_URL is not set: ${aUrl}`,
      'PORT should be at least 0',
      'AUTH should be required or off',
    ])
  })

  it('for the commands too', () => {
    expect(readProblem(() => readMigrationConfig({}))).toBe(`DIRECT_DATABASE_URL is not set: ${aUrl}`)
    expect(readProblem(() => readManageConfig({}))).toBe(`DATABASE_URL is not set: ${aUrl}`)
  })

  it('never quotes a value: it may hold a password', () => {
    expect(readProblem(() => readConfig({ DATABASE_URL: 'secret' }))).not.toContain('secret')
  })
})

it('takes AUTH=off on a developer’s machine and refuses it in production', () => {
  expect(readConfig({ ...valid, AUTH: 'off' }).AUTH).toBe('off')
  const problem = readProblem(() => readConfig({ ...valid, AUTH: 'off', NODE_ENV: 'production' }))
  expect(problem).toBe('AUTH cannot be off under NODE_ENV=production: set AUTH=required')
})

it('asks for keys when AUTH is unset, and for nothing but the database', () => {
  expect(readConfig(valid)).toMatchObject({ AUTH: 'required', PORT: 3000, WEB_CONCURRENCY: 1, CORS_ORIGINS: [] })
  for (const blank of ['', ' ']) {
    const config = readConfig({ ...valid, AUTH: blank, PORT: blank })
    expect(config).toMatchObject({ AUTH: 'required', PORT: 3000 })
  }
})

describe('an embedding model on a server of its own', () => {
  const anthropic = {
    OPENAI_BASE_URL: 'https://api.anthropic.com/v1',
    OPENAI_API_KEY: 'chat-key',
    CHAT_MODEL: 'claude',
  }
  const EMBEDDING_MODEL = 'text-embedding-3-small'
  const openai = 'https://api.openai.com/v1'
  const read = (environment: NodeJS.ProcessEnv) => readConfig({ ...valid, EMBEDDING_MODEL, ...environment })

  it.each([
    ['nothing more is set', {}, { baseUrl: anthropic.OPENAI_BASE_URL, apiKey: 'chat-key' }],
    ['a key is set', { EMBEDDING_API_KEY: 'own-key' }, { baseUrl: anthropic.OPENAI_BASE_URL, apiKey: 'own-key' }],
    ['a server is set', { EMBEDDING_BASE_URL: 'http://127.0.0.1:11434/v1' }, { baseUrl: 'http://127.0.0.1:11434/v1' }],
    [
      'both are set',
      { EMBEDDING_BASE_URL: openai, EMBEDDING_API_KEY: 'own-key' },
      { baseUrl: openai, apiKey: 'own-key' },
    ],
  ])('gets its own key or none when %s', (_, environment, server) => {
    expect(findEmbeddingServer(read({ ...anthropic, ...environment }))).toEqual(server)
  })

  it('needs a key of its own for api.openai.com', () => {
    const problem = readProblem(() => read({ ...anthropic, EMBEDDING_BASE_URL: openai }))
    expect(problem).toBe('EMBEDDING_API_KEY is needed for api.openai.com; or set EMBEDDING_BASE_URL to another server')
    expect(readProblem(() => read({ CHAT_MODEL: 'gpt-5-mini' })).split('\n').length).toBe(1)
  })
})

it('takes every base URL that the README of the models names', () => {
  const readme = readFileSync(new URL('../../llm/README.md', import.meta.url), 'utf8')
  const urls = Array.from(readme.matchAll(/(?:`|_URL=)(https?:[^`\s]+)/g), ([, url = '']) => url)
  expect(urls.length).toBeGreaterThan(10)
  for (const url of urls) {
    const { OPENAI_BASE_URL, EMBEDDING_BASE_URL } = readConfig({
      ...valid,
      OPENAI_BASE_URL: url,
      EMBEDDING_BASE_URL: url,
    })
    expect([OPENAI_BASE_URL, EMBEDDING_BASE_URL]).toEqual([url, url])
  }
})

it('needs no key for a model server of one’s own', () => {
  const { CHAT_MODEL } = readConfig({ ...valid, CHAT_MODEL: 'llama', OPENAI_BASE_URL: 'http://127.0.0.1:11434/v1' })
  expect(CHAT_MODEL).toBe('llama')
})

it.each(['https://login.example', 'https://login.example/', 'http://localhost:8080/realms/a', 'http://[::1]:8080'])(
  'takes JWT_ISSUER=%s as it is written, since tokens are compared with it',
  (JWT_ISSUER) => {
    expect(readConfig({ ...valid, JWT_ISSUER, JWT_AUDIENCE: 'api' }).JWT_ISSUER).toBe(JWT_ISSUER)
  },
)

it('splits CORS_ORIGINS at commas', () => {
  const { CORS_ORIGINS } = readConfig({ ...valid, CORS_ORIGINS: 'https://a.example, https://b.example,' })
  expect(CORS_ORIGINS).toEqual(['https://a.example', 'https://b.example'])
})

describe('what the doctor reads', () => {
  it('is all that fits, and a problem for each variable that does not', () => {
    const { problems, ...rest } = readDoctorConfig({
      ...valid,
      PORT: 'high',
      CHAT_MODEL: 'gpt',
      PGBOUNCER_ADMIN_URL: 'x',
    })
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual(['PGBOUNCER_ADMIN_URL', 'PORT'])
    expect(rest).toEqual({
      databaseUrl: url,
      directUrl: undefined,
      adminUrl: undefined,
      port: undefined,
      host: '127.0.0.1',
      models: undefined,
    })
  })

  it('is the same as what the API reads when all fits', () => {
    const { problems, models, port } = readDoctorConfig({ ...valid, PORT: '4000', EMBEDDING_DIMENSIONS: '8' })
    expect({ problems, port }).toEqual({ problems: [], port: 4000 })
    expect(readConfig({ ...valid, EMBEDDING_DIMENSIONS: '8' })).toMatchObject(models ?? { models: 'wrong' })
  })
})
