import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  ConfigError,
  findEmbeddingServer,
  findProxies,
  readConfig,
  readDoctorConfig,
  readManageConfig,
  readMigrationConfig,
} from './index.ts'

const url = 'postgres://sluice:secret@127.0.0.1:6432/sluice'
const valid = { DATABASE_URL: url }
const aUrl = 'It must be a URL like postgres://user:password@host:6432/database'

const noKey = 'must be the key alone: printable ASCII characters without blanks. Copy it again'
const noHost = 'must be a comma-separated list of host names like host.docker.internal, without ports'

function readProblem(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    if (error instanceof ConfigError) return error.message
  }
  return 'no problem'
}

describe('an invalid variable is reported in one line with its name and the expected value', () => {
  it.each([
    ['DATABASE_URL', undefined, `DATABASE_URL is not set. ${aUrl}`],
    ['DATABASE_URL', '', `DATABASE_URL is not set. ${aUrl}`],
    ['DATABASE_URL', 'mysql://host/db', 'DATABASE_URL must be a URL like postgres://user:password@host:6432/database'],
    ['DATABASE_POOL_SIZE', '0', 'DATABASE_POOL_SIZE must be at least 1'],
    [
      'PGBOUNCER_ADMIN_URL',
      'localhost',
      'PGBOUNCER_ADMIN_URL must be a URL like postgres://user:password@host:6432/database',
    ],
    ['OPENAI_API_KEY', 'sk-a\nsk-b', `OPENAI_API_KEY ${noKey}`],
    ['OPENAI_API_KEY', 'Bearer sk-a', `OPENAI_API_KEY ${noKey}`],
    ['EMBEDDING_API_KEY', 'sk-\u2011a', `EMBEDDING_API_KEY ${noKey}`],
    ['HTTPS_PROXY', 'proxy.example:3128', 'HTTPS_PROXY must be a URL like http://proxy.example:3128'],
    ['http_proxy', 'socks5://proxy.example', 'http_proxy must be a URL like http://proxy.example:3128'],
    ['ALLOWED_HOSTS', 'host.docker.internal:3000', `ALLOWED_HOSTS ${noHost}`],
    ['ALLOWED_HOSTS', '*', `ALLOWED_HOSTS ${noHost}`],
    ['PORT', 'abc', 'PORT must be a whole number'],
    ['PORT', '80.5', 'PORT must be a whole number'],
    ['PORT', '65536', 'PORT must be at most 65535'],
    ['LOG_LEVEL', 'loud', 'LOG_LEVEL must be fatal or error or warn or info or debug or trace or silent'],
    ['WEB_CONCURRENCY', '-1', 'WEB_CONCURRENCY must be at least 1'],
    ['MAX_STREAMS', '0', 'MAX_STREAMS must be at least 1'],
    ['DRAIN_TIMEOUT_MS', '-1', 'DRAIN_TIMEOUT_MS must be at least 0'],
    ['MODEL_FIRST_BYTE_TIMEOUT_MS', 'soon', 'MODEL_FIRST_BYTE_TIMEOUT_MS must be a whole number'],
    ['MODEL_IDLE_TIMEOUT_MS', '0', 'MODEL_IDLE_TIMEOUT_MS must be at least 1'],
    [
      'SEARCH_LANGUAGE',
      'klingon',
      'SEARCH_LANGUAGE must be arabic or danish or dutch or english or finnish or french or german or greek or hungarian or italian or norwegian or portuguese or romanian or russian or spanish or swedish or turkish',
    ],
    ['OPENAI_BASE_URL', 'localhost:11434', 'OPENAI_BASE_URL must be a URL like https://api.openai.com/v1'],
    [
      'CHAT_MODEL',
      'gpt-5',
      'OPENAI_API_KEY is required for api.openai.com. Set it, or set OPENAI_BASE_URL to another server',
    ],
    [
      'EMBEDDING_MODEL',
      'ada',
      'OPENAI_API_KEY is required for api.openai.com. Set it, or set OPENAI_BASE_URL to another server',
    ],
    ['EMBEDDING_BASE_URL', 'localhost', 'EMBEDDING_BASE_URL must be a URL like https://api.openai.com/v1'],
    ['EMBEDDING_DIMENSIONS', '20000', 'EMBEDDING_DIMENSIONS must be at most 16000'],
    ['EMBEDDING_QUERY_PREFIX', 'query: ', 'EMBEDDING_QUERY_PREFIX needs EMBEDDING_MODEL. Set both or neither'],
    [
      'RERANK_BASE_URL',
      'http://localhost:8000/v1',
      'RERANK_MODEL is required with RERANK_BASE_URL. Set it to the name of the reranker',
    ],
    ['RERANK_MODEL', 'bge', 'RERANK_MODEL needs RERANK_BASE_URL. Set both or neither'],
    ['RERANK_API_KEY', 'key', 'RERANK_API_KEY needs RERANK_BASE_URL. Set both or neither'],
    ['AUTH', 'none', 'AUTH must be required or off'],
    [
      'JWT_ISSUER',
      'https://login.example',
      'JWT_AUDIENCE is required with JWT_ISSUER. Set it to the `aud` of the tokens for this API',
    ],
    ['JWT_AUDIENCE', 'api', 'JWT_ISSUER is required with JWT_AUDIENCE. Set it to the URL of the token issuer'],
    ['JWT_JWKS_URL', 'login.example/jwks', 'JWT_JWKS_URL must be a URL like https://login.example/jwks'],
    ['JWT_LIBRARIAN_CLAIM', 'librarian', 'JWT_LIBRARIAN_CLAIM must be the claim and its value, like roles=librarian'],
    ['TRUST_PROXY', 'perhaps', 'TRUST_PROXY must be true or false'],
  ])('%s=%s', (name, value, message) => {
    expect(readProblem(() => readConfig({ ...valid, [name]: value }))).toBe(message)
  })

  it.each([
    'https://chat.example/',
    'https://chat.example/app',
    'chat.example',
    'localhost:5173',
    '*',
    'tauri://localhost/',
    'chrome-extension://*',
    'app:',
  ])('CORS_ORIGINS=https://a.example,%s', (origin) => {
    const problem = readProblem(() => readConfig({ ...valid, CORS_ORIGINS: `https://a.example,${origin}` }))
    expect(problem).toBe(
      'CORS_ORIGINS must be a comma-separated list of origins like https://chat.example or tauri://localhost',
    )
  })

  it.each([
    'login.example',
    'ftp://login.example',
    'http://login.example',
    'https://login.example?a=b',
    'https://login.example#a',
  ])('JWT_ISSUER=%s', (JWT_ISSUER) => {
    expect(readProblem(() => readConfig({ ...valid, JWT_ISSUER, JWT_AUDIENCE: 'api' }))).toBe(
      'JWT_ISSUER must be a URL like https://login.example without ? and #. http is allowed for localhost only',
    )
  })

  it('for each of several invalid variables', () => {
    const lines = readProblem(() => readConfig({ PORT: '-1', AUTH: 'on' })).split('\n')
    expect(lines).toEqual([
      `DATABASE_URL is not set. ${aUrl}`,
      'PORT must be at least 0',
      'AUTH must be required or off',
    ])
  })

  it('in the commands, too', () => {
    expect(readProblem(() => readMigrationConfig({}))).toBe(`DIRECT_DATABASE_URL is not set. ${aUrl}`)
    expect(readProblem(() => readManageConfig({}))).toBe(`DATABASE_URL is not set. ${aUrl}`)
  })

  it('without its value, which may contain a password', () => {
    expect(readProblem(() => readConfig({ DATABASE_URL: 'secret' }))).not.toContain('secret')
  })
})

it('accepts AUTH=off in development and rejects it in production', () => {
  expect(readConfig({ ...valid, AUTH: 'off' }).AUTH).toBe('off')
  const problem = readProblem(() => readConfig({ ...valid, AUTH: 'off', NODE_ENV: 'production' }))
  expect(problem).toBe('AUTH cannot be off with NODE_ENV=production. Set AUTH=required')
})

it('requires keys when AUTH is unset, and needs only DATABASE_URL', () => {
  expect(readConfig(valid)).toMatchObject({ AUTH: 'required', PORT: 3000, WEB_CONCURRENCY: 1, CORS_ORIGINS: [] })
  for (const blank of ['', ' ']) {
    const config = readConfig({ ...valid, AUTH: blank, PORT: blank })
    expect(config).toMatchObject({ AUTH: 'required', PORT: 3000 })
  }
})

describe('an embedding model on its own server', () => {
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
  ])('uses its own key or none when %s', (_, environment, server) => {
    expect(findEmbeddingServer(read({ ...anthropic, ...environment }))).toEqual(server)
  })

  it('requires its own key for api.openai.com', () => {
    const problem = readProblem(() => read({ ...anthropic, EMBEDDING_BASE_URL: openai }))
    expect(problem).toBe(
      'EMBEDDING_API_KEY is required for api.openai.com. Set it, or set EMBEDDING_BASE_URL to another server',
    )
    expect(readProblem(() => read({ CHAT_MODEL: 'gpt-5-mini' })).split('\n').length).toBe(1)
  })
})

it('accepts every base URL in the README of packages/llm', () => {
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

it('requires no key for a local model server', () => {
  const { CHAT_MODEL } = readConfig({ ...valid, CHAT_MODEL: 'llama', OPENAI_BASE_URL: 'http://127.0.0.1:11434/v1' })
  expect(CHAT_MODEL).toBe('llama')
})

it.each(['https://login.example', 'https://login.example/', 'http://localhost:8080/realms/a', 'http://[::1]:8080'])(
  'keeps JWT_ISSUER=%s unchanged, because it is compared with tokens',
  (JWT_ISSUER) => {
    expect(readConfig({ ...valid, JWT_ISSUER, JWT_AUDIENCE: 'api' }).JWT_ISSUER).toBe(JWT_ISSUER)
  },
)

it('splits CORS_ORIGINS at commas', () => {
  const { CORS_ORIGINS } = readConfig({ ...valid, CORS_ORIGINS: 'https://a.example, https://b.example,' })
  expect(CORS_ORIGINS).toEqual(['https://a.example', 'https://b.example'])
})

it.each(['app://-', 'chrome-extension://abcdefghijklmnop', 'tauri://localhost', 'capacitor://localhost'])(
  'accepts the origin %s of an app or extension',
  (origin) => {
    expect(readConfig({ ...valid, CORS_ORIGINS: origin }).CORS_ORIGINS).toEqual([origin])
  },
)

describe('a value from a mounted secret or an env file', () => {
  const read = (OPENAI_API_KEY: string) => readConfig({ ...valid, OPENAI_API_KEY }).OPENAI_API_KEY

  it.each(['key\n', ' key\r\n', '"key"', "'key'", '"key"\n', '\uFEFFkey', '" key "', '\tkey\u00A0'])(
    '%j is read as key',
    (value) => {
      expect(read(value)).toBe('key')
    },
  )

  it('is trimmed in every kind of variable', () => {
    const { DATABASE_URL, OPENAI_BASE_URL, PORT, AUTH, chatModels } = readConfig({
      ...{
        DATABASE_URL: `"${url}"\n`,
        OPENAI_BASE_URL: '\uFEFFhttps://a.example/v1\r\n',
        PORT: "'4000'",
        AUTH: '"off"',
      },
      ...{ CHAT_MODELS: '[{ "name": "a", "keyVariable": "A_KEY" }]\n', A_KEY: '"key"\n' },
    })
    expect({ DATABASE_URL, OPENAI_BASE_URL, PORT, AUTH }).toEqual({
      ...{ DATABASE_URL: url, OPENAI_BASE_URL: 'https://a.example/v1', PORT: 4000, AUTH: 'off' },
    })
    expect(chatModels).toMatchObject([{ name: 'a', apiKey: 'key' }])
  })

  it('keeps quotes that are part of it', () => {
    expect(read('"key')).toBe('"key')
    expect(readConfig({ ...valid, SYSTEM_PROMPT: '"Be brief." ' }).SYSTEM_PROMPT).toBe('"Be brief." ')
    expect(readProblem(() => read('""'))).toBe('no problem')
  })
})

it('returns the proxies, and never one for this machine', () => {
  const proxy = 'http://proxy.example:3128'
  const env = {
    ...valid,
    HTTPS_PROXY: proxy,
    https_proxy: `${proxy}0`,
    HTTP_PROXY: ` ${proxy}\n`,
    NO_PROXY: '.a.example',
  }
  expect(findProxies(readConfig(env))).toEqual({
    http_proxy: proxy,
    https_proxy: `${proxy}0`,
    no_proxy: '.a.example,localhost,127.0.0.1,::1',
  })
})

describe('readDoctorConfig', () => {
  it('returns the valid variables and one problem per invalid variable', () => {
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

  it('returns the same as readConfig when all variables are valid', () => {
    const { problems, models, port } = readDoctorConfig({ ...valid, PORT: '4000', EMBEDDING_DIMENSIONS: '8' })
    expect({ problems, port }).toEqual({ problems: [], port: 4000 })
    expect(readConfig({ ...valid, EMBEDDING_DIMENSIONS: '8' })).toMatchObject(models ?? { models: 'invalid' })
  })
})

it('keeps the spaces of prefixes, and reads line breaks', () => {
  const environment = {
    DATABASE_URL: url,
    OPENAI_API_KEY: 'key',
    EMBEDDING_MODEL: 'model',
    EMBEDDING_QUERY_PREFIX: 'Instruct: find\\nQuery: ',
    EMBEDDING_DOCUMENT_PREFIX: '',
  }
  const { EMBEDDING_QUERY_PREFIX, EMBEDDING_DOCUMENT_PREFIX } = readConfig(environment)
  expect([EMBEDDING_QUERY_PREFIX, EMBEDDING_DOCUMENT_PREFIX]).toEqual(['Instruct: find\nQuery: ', undefined])
})
