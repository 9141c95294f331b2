import cluster from 'node:cluster'
import { connect, createStore } from '@repo/db'
import closeWithGrace from 'close-with-grace'
import { pino } from 'pino'
import { buildApp } from './app.ts'
import { runWorkers } from './cluster.ts'
import { type Config, ConfigError, readConfig } from './config.ts'
import { createModels } from './models.ts'
import { describeError } from './plugins/errors.ts'

const closeTimeoutMs = 10_000 // after the drain: sockets and pool close in a few ms

/** The composition root: opens what the app uses, listens, and closes it in the reverse order. */
async function serve(config: Config) {
  const logger = pino({ level: config.LOG_LEVEL })
  if (config.AUTH === 'off') logger.warn('AUTH is off: everyone on this machine may read and write everything')
  const database = connect({
    url: config.DATABASE_URL,
    poolSize: config.DATABASE_POOL_SIZE,
    applicationName: 'sluice-api',
  })
  const llm = createModels(config)
  const app = await buildApp({ config, database, store: createStore(database.db), llm, logger })

  closeWithGrace({ delay: config.DRAIN_TIMEOUT_MS + closeTimeoutMs, logger: false }, async ({ err }) => {
    if (err) logger.fatal({ error: describeError(err) }, 'the process cannot go on')
    await app.chat.drain(err ? 0 : config.DRAIN_TIMEOUT_MS)
    await app.close()
    llm.close()
    await database.close()
  })

  await app.listen({ port: config.PORT, host: config.HOST })
  logger.info({ port: config.PORT, chat: llm.chat.name, embedder: llm.embedder.name }, 'listening')
}

/** One line that names the cause: a wrong variable, or the port. */
function explain(error: unknown): string {
  if (error instanceof ConfigError) return error.message
  if (!(error instanceof Error)) return 'The server could not start.'
  const isPortTaken = 'code' in error && error.code === 'EADDRINUSE'
  return isPortTaken ? `PORT is taken by another program: stop it, or set PORT to a free one.` : error.message
}

try {
  const config = readConfig()
  if (cluster.isPrimary && config.WEB_CONCURRENCY > 1) runWorkers(config.WEB_CONCURRENCY)
  else await serve(config)
} catch (error) {
  console.error(explain(error))
  process.exit(1)
}
