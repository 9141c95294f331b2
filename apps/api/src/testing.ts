import { connect, createStore, type Store } from '@repo/db'
import { createTestDatabase, type TestDatabase } from '@repo/db/testing'
import type { Llm } from '@repo/llm'
import type { FastifyInstance } from 'fastify'
import { type Logger, pino } from 'pino'
import { buildApp } from './app.ts'
import { type Config, readConfig } from './config.ts'
import { createModels } from './models.ts'
import { createKey } from './plugins/auth.ts'

export type TestApp = {
  app: FastifyInstance
  store: Store
  test: TestDatabase
  /** Headers of two owners, for whoever must not see the other. */
  alice: { authorization: string }
  bob: { authorization: string }
  /** Listens on a free port and gives the URL. */
  listen: () => Promise<string>
  close: () => Promise<void>
}

export type TestOptions = {
  /** As in the environment of `npm run api`; `CHAT_MODEL` and `OPENAI_BASE_URL` point it at a mock model. */
  environment?: Record<string, string>
  llm?: Llm
  logger?: Logger
}

/** The app as `npm run api` runs it, on a fresh database, with two owners. */
export async function testApp({
  environment = {},
  llm,
  logger = pino({ level: 'silent' }),
}: TestOptions = {}): Promise<TestApp> {
  const test = await createTestDatabase()
  const config: Config = readConfig({ DATABASE_URL: test.databaseUrl, ...environment })
  const database = connect({ url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE })
  const store = createStore(database.db)
  const models = llm ?? createModels(config)
  const app = await buildApp({ config, database, store, llm: models, logger })
  const headersFor = async (owner: string) => ({ authorization: `Bearer ${await createKey(store, owner)}` })
  return {
    app,
    store,
    test,
    alice: await headersFor('alice'),
    bob: await headersFor('bob'),
    listen: () => app.listen({ port: 0, host: '127.0.0.1' }),
    close: async () => {
      await app.chat.drain(0)
      await app.close()
      models.close()
      await database.close()
      await test.drop()
    },
  }
}
