import { readConfig, readMigrationConfig } from '@repo/config'
import { ConnectionHeldError, connect, type Database } from '@repo/db'
import { createTestDatabase, type TestDatabase } from '@repo/db/testing'
import { createTestModels } from '@repo/testing/test-models'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createModels } from './index.ts'

let test: TestDatabase
let database: Database

beforeAll(async () => {
  test = await createTestDatabase()
  database = connect({ url: test.databaseUrl, poolSize: 1 })
})
afterAll(async () => {
  await database.close()
  await test.drop()
})

describe.each([
  { kind: 'offline', environment: {} },
  // Nothing listens on this port, so a call that passed the guard would fail differently.
  { kind: 'OpenAI', environment: { OPENAI_BASE_URL: 'http://127.0.0.1:9/v1', CHAT_MODEL: 'a', EMBEDDING_MODEL: 'b' } },
])('the $kind models', ({ environment }) => {
  const config = readMigrationConfig({ DIRECT_DATABASE_URL: 'postgres://a@127.0.0.1/b', ...environment })
  const llm = createModels(config)
  const request = { messages: [], passages: [], signal: new AbortController().signal }

  it('cannot be called inside a transaction', async () => {
    const ask = database.db.transaction(() => llm.chat.stream(request))
    await expect(ask).rejects.toThrow(ConnectionHeldError)
    const embed = database.db.transaction((tx) => tx.transaction(() => Promise.all([llm.embedder.embed(['a'])])))
    await expect(embed).rejects.toThrow(ConnectionHeldError)
  })

  it('can be called after a transaction', async () => {
    await database.db.transaction(async () => {})
    const outcome = await llm.embedder.embed(['a']).catch((error: unknown) => error)
    expect(outcome).not.toBeInstanceOf(ConnectionHeldError)
  })
})

it('the reranker cannot be called inside a transaction, and there is none by default', async () => {
  const read = (environment: NodeJS.ProcessEnv) => {
    const config = readConfig({ DATABASE_URL: 'postgres://a@127.0.0.1/b', ...environment })
    return createModels(config, { fallback: createTestModels() }).reranker
  }
  expect(read({})).toBeUndefined()
  const reranker = read({ RERANK_BASE_URL: 'http://127.0.0.1:9/v1', RERANK_MODEL: 'r' }) // nothing listens there
  const rank = database.db.transaction(async () => reranker?.rerank('a', ['b', 'c'], 1))
  await expect(rank).rejects.toThrow(ConnectionHeldError)
  await expect(reranker?.rerank('a', ['b', 'c'], 1)).rejects.toMatchObject({ code: 'model_unreachable' })
})

it('a stream that was opened outside a transaction cannot be read inside one', async () => {
  const llm = createModels(readMigrationConfig({ DIRECT_DATABASE_URL: 'postgres://a@127.0.0.1/b' }), {
    fallback: createTestModels(),
  })
  const messages = [{ role: 'user' as const, content: 'What is this?' }]
  const events = await llm.chat.stream({ messages, passages: [], signal: new AbortController().signal })
  const read = database.db.transaction(async () => {
    for await (const event of events) return event
    return undefined
  })
  await expect(read).rejects.toThrow(ConnectionHeldError)
})

it('no chat model that a request may choose can be called inside a transaction', async () => {
  const OPENAI_BASE_URL = 'http://127.0.0.1:9/v1' // nothing listens there
  const { chatModels, completionModels } = createModels(
    readConfig({
      ...{ DATABASE_URL: 'postgres://a@127.0.0.1/b', OPENAI_BASE_URL, EMBEDDING_MODEL: 'e' },
      ...{ CHAT_MODEL: 'a', CHAT_MODELS: 'b,c' },
    }),
  )
  const { signal } = new AbortController()
  expect([...chatModels.keys()]).toEqual(['a', 'b', 'c'])
  for (const model of chatModels.values()) {
    const ask = database.db.transaction(() => model.stream({ messages: [], passages: [], signal }))
    await expect(ask).rejects.toThrow(ConnectionHeldError)
  }
  for (const model of completionModels.values()) {
    const ask = database.db.transaction(() => model.complete({ body: { messages: [] }, passages: [], signal }))
    await expect(ask).rejects.toThrow(ConnectionHeldError)
  }
})
