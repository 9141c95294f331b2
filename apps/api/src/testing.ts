import { type Config, readConfig } from '@repo/config'
import { connect, createKey, createStore, type DocumentJob, ingestQueue, type Store } from '@repo/db'
import { startQueue } from '@repo/db/queue'
import { createTestDatabase, type TestDatabase } from '@repo/db/testing'
import type { Embedder, Llm } from '@repo/llm'
import { createModels } from '@repo/models'
import { processDocument } from '@repo/rag'
import type { Gate } from '@repo/testing/tcp-proxy'
import type { FastifyInstance } from 'fastify'
import { type Logger, pino } from 'pino'
import { buildApp } from './app.ts'
import type { Tools } from './chat/tools.ts'
import type { WatchDelay } from './plugins/overload.ts'

export type TestApp = {
  app: FastifyInstance
  store: Store
  test: TestDatabase
  /** Headers of two owners, for tests that separate their data. */
  alice: { authorization: string }
  bob: { authorization: string }
  /** Runs a worker's tasks from the real queue until nothing is due. */
  work: () => Promise<void>
  /** Listens on a free port and returns the URL. */
  listen: () => Promise<string>
  close: () => Promise<void>
}

export type TestOptions = {
  /** Environment variables of `npm run api`. `CHAT_MODEL` and `OPENAI_BASE_URL` select a mock model. */
  environment?: Record<string, string>
  llm?: Llm
  logger?: Logger
  /** Passes database connections through this gate; see `openTcpProxy`. */
  gate?: Pick<Gate, 'host'>
  watchDelay?: WatchDelay
  tools?: Tools
  /** The database of another app, which then drops it. */
  database?: TestDatabase
}

/** Starts the app like `npm run api`, on a fresh database, with two owners. */
export async function testApp({
  environment = {},
  llm,
  logger = pino({ level: 'silent' }),
  gate,
  tools,
  database: given,
  watchDelay = () => () => {}, // the tests run in the same event loop: if it is late, that says nothing about the app
}: TestOptions = {}): Promise<TestApp> {
  const test = given ?? (await createTestDatabase())
  const databaseUrl = new URL(test.databaseUrl)
  if (gate) databaseUrl.host = gate.host
  const defaults = { DATABASE_URL: databaseUrl.href, CONVERSATION_TITLES: 'question' } // else each first answer is two calls
  const config: Config = readConfig({ ...defaults, ...environment })
  const database = connect({ url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE })
  const store = createStore(database.db)
  const models = llm ?? createModels(config)
  const app = await buildApp({ config, database, store, llm: models, logger, tools, watchDelay })
  const headersFor = async (owner: string) => ({ authorization: `Bearer ${await createKey(store, owner)}` })
  return {
    app,
    store,
    test,
    alice: await headersFor('alice'),
    bob: await headersFor('bob'),
    work: () => workOff(test.databaseUrl, { store, embedder: models.embedder }),
    listen: () => app.listen({ port: 0, host: '127.0.0.1' }),
    close: async () => {
      await app.chat.drain(0)
      await app.close()
      models.close()
      await database.close()
      if (!given) await test.drop()
    },
  }
}

async function workOff(databaseUrl: string, options: { store: Store; embedder: Embedder }) {
  const queue = await startQueue(databaseUrl, () => {})
  for (;;) {
    const [job] = await queue.fetch<DocumentJob>(ingestQueue)
    if (!job) break
    const { owner, documentId: id, version } = job.data
    await processDocument(options, owner, { id, version }).then(
      () => queue.complete(ingestQueue, job.id),
      () => queue.fail(ingestQueue, job.id),
    )
  }
  await queue.stop({ graceful: false })
}
