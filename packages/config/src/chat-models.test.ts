import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ConfigError, readConfig, readDoctorConfig, readWorkerConfig } from './index.ts'

const local = { DATABASE_URL: 'postgres://a@127.0.0.1/b', OPENAI_BASE_URL: 'http://127.0.0.1:1/v1' }
const read = (environment: NodeJS.ProcessEnv) => readConfig({ ...local, ...environment }).chatModels
const readList = (...entries: object[]) => read({ CHAT_MODELS: JSON.stringify(entries), GROQ_API_KEY: 'groq-key' })
const defaults = { baseUrl: local.OPENAI_BASE_URL, capabilities: { images: true, tools: true, reasoning: false } }

function writeList(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'chat-models-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'models.json')
  writeFileSync(path, text)
  return path
}

describe('the chat models', () => {
  it('are none without settings, and CHAT_MODEL alone if only that is set', () => {
    expect(read({})).toEqual([])
    expect(read({ CHAT_MODEL: 'a' })).toEqual([{ ...defaults, name: 'a', model: 'a' }])
  })

  it('can be a list of names on the same server', () => {
    const models = read({ CHAT_MODEL: 'a', CHAT_MODELS: 'b, vendor/c:8b,', OPENAI_API_KEY: 'key' })
    expect(models?.map(({ name, model, apiKey }) => [name, model, apiKey])).toEqual([
      ['a', 'a', 'key'],
      ['b', 'b', 'key'],
      ['vendor/c:8b', 'vendor/c:8b', 'key'],
    ])
  })

  it('can be JSON, and each key is sent to its own server only', () => {
    const groq = { name: 'fast', model: 'openai/gpt-oss-20b', baseUrl: 'https://api.groq.com/openai/v1' }
    const models = read({
      OPENAI_API_KEY: 'own-key',
      GROQ_API_KEY: 'groq-key',
      CHAT_MODELS: JSON.stringify([
        {
          ...groq,
          keyVariable: 'GROQ_API_KEY',
          images: false,
          reasoning: true,
          contextTokens: 131_072,
          maxAnswerTokens: 5,
        },
        { name: 'keyless', baseUrl: 'http://127.0.0.1:2/v1' },
        { name: 'same server', baseUrl: `${local.OPENAI_BASE_URL}/` },
      ]),
    })
    expect(models).toEqual([
      {
        ...groq,
        apiKey: 'groq-key',
        capabilities: { images: false, tools: true, reasoning: true },
        contextTokens: 131_072,
        maxAnswerTokens: 5,
      },
      { ...defaults, name: 'keyless', model: 'keyless', baseUrl: 'http://127.0.0.1:2/v1' },
      {
        ...defaults,
        name: 'same server',
        model: 'same server',
        baseUrl: `${local.OPENAI_BASE_URL}/`,
        apiKey: 'own-key',
      },
    ])
  })

  it('can be a file, and an entry with the name of CHAT_MODEL describes it', () => {
    const path = writeList('[{ "name": "a", "images": false, "fallback": "b" }, { "name": "b" }]')
    expect(read({ CHAT_MODEL: 'a', CHAT_MODELS_FILE: path })).toMatchObject([
      { name: 'a', fallback: 'b', capabilities: { images: false, tools: true } },
      { name: 'b' },
    ])
  })

  it('need no OPENAI_API_KEY if CHAT_MODEL has a server of its own', () => {
    const CHAT_MODELS = JSON.stringify([{ name: 'a', baseUrl: 'http://127.0.0.1:2/v1' }])
    const config = readConfig({ DATABASE_URL: local.DATABASE_URL, CHAT_MODEL: 'a', CHAT_MODELS })
    expect(config.chatModels).toMatchObject([{ name: 'a', baseUrl: 'http://127.0.0.1:2/v1' }])
  })

  it('are not read by the worker, which does not chat', () => {
    const config = readWorkerConfig({ ...local, CHAT_MODELS_FILE: '/nowhere', CHAT_MODELS: '[{}]' })
    expect(config).not.toHaveProperty('chatModels')
  })

  it('are reported by the doctor in one line if they are invalid', () => {
    const { problems, models } = readDoctorConfig({ ...local, CHAT_MODELS: '[{}]' })
    expect(problems).toEqual(['CHAT_MODELS[0].name is not set. It must be a text in quotes'])
    expect(models).toBeUndefined()
  })
})

describe('an invalid chat model stops the start with one line', () => {
  const a = { name: 'a' }
  const unknownKey = 'has the unknown key key. Use name, model, baseUrl, keyVariable, images, tools, reasoning,'

  it.each([
    [[{}], 'CHAT_MODELS[0].name is not set. It must be a text in quotes'],
    [[a, { name: 5 }], 'CHAT_MODELS[1].name must be a text in quotes'],
    [['a'], 'CHAT_MODELS[0] must be an object like {"name": "gpt-5"}'],
    [[{ ...a, baseUrl: 'localhost' }], 'CHAT_MODELS[0].baseUrl must be a URL like https://api.openai.com/v1'],
    [[{ ...a, images: 'yes' }], 'CHAT_MODELS[0].images must be true or false'],
    [[{ ...a, contextTokens: 0 }], 'CHAT_MODELS[0].contextTokens must be at least 1'],
    [[{ ...a, contextTokens: 1.5 }], 'CHAT_MODELS[0].contextTokens must be a whole number'],
    [[{ ...a, key: 'b' }], `CHAT_MODELS[0] ${unknownKey} contextTokens, maxAnswerTokens, fallback, api`],
    [[{ ...a, keyVariable: 'NO_KEY' }], 'NO_KEY is not set. It must be the key of CHAT_MODELS[0] (a)'],
    [
      [{ ...a, keyVariable: 'gsk_secret' }],
      'CHAT_MODELS[0].keyVariable must be the name of a variable like GROQ_API_KEY, never the key itself',
    ],
    [
      [{ ...a, baseUrl: 'https://api.openai.com/v1' }],
      'CHAT_MODELS[0].keyVariable is required for api.openai.com. Set it to the name of the variable with the key',
    ],
    [[a, a], 'CHAT_MODELS[1].name must differ from the other names: a is used twice'],
    [[{ ...a, fallback: 'c' }, { name: 'b' }], 'CHAT_MODELS[0].fallback must be the name of a listed model: a, b'],
    [
      [
        { ...a, fallback: 'b' },
        { name: 'b', fallback: 'a' },
      ],
      'CHAT_MODELS[0].fallback must not lead back to a. Remove one fallback of this circle',
    ],
    [
      [
        { ...a, fallback: 'b' },
        { name: 'b', fallback: 'b' },
      ],
      'CHAT_MODELS[1].fallback must not lead back to b. Remove one fallback of this circle',
    ],
  ])('%j', (entries, message) => {
    expect(() => readList(...(entries as object[]))).toThrow(new ConfigError([message]))
  })

  it.each([
    [{ CHAT_MODELS: '{"name":"a"}' }, 'CHAT_MODELS must be a JSON list like [{"name": "gpt-5"}]'],
    [{ CHAT_MODELS: '[secret' }, 'CHAT_MODELS must be valid JSON like [{"name": "gpt-5"}]'],
    [{ CHAT_MODELS: 'a'.repeat(201) }, 'CHAT_MODELS[0].name must have at most 200 characters'],
    [{ CHAT_MODELS_FILE: '/nowhere' }, 'CHAT_MODELS_FILE must be the path of a readable JSON file'],
    [{ CHAT_MODELS_FILE: 'a', CHAT_MODELS: 'b' }, 'CHAT_MODELS_FILE must be unset with CHAT_MODELS'],
    [
      { CHAT_MODELS: 'b', OPENAI_BASE_URL: 'https://api.openai.com/v1' },
      'OPENAI_API_KEY is required for api.openai.com. Set it, or set OPENAI_BASE_URL to another server',
    ],
  ])('%j', (environment, message) => {
    expect(() => read(environment)).toThrow(new ConfigError([message]))
  })

  it('with the variable of a key that no HTTP header can contain', () => {
    const entry = JSON.stringify([{ ...a, keyVariable: 'A_KEY' }])
    expect(() => read({ CHAT_MODELS: entry, A_KEY: 'a b' })).toThrow(/^A_KEY must be the key alone/)
  })

  it('with the path of the file', () => {
    const path = writeList('[{ "name": "a", "tools": 1 }]')
    expect(() => read({ CHAT_MODELS_FILE: path })).toThrow(new ConfigError([`${path}[0].tools must be true or false`]))
  })
})
