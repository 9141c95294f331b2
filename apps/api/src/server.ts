import cluster from 'node:cluster'
import { type Config, readConfig } from '@repo/config'
import { connect, createStore } from '@repo/db'
import { findPort } from '@repo/listen'
import { createModels } from '@repo/models'
import { createLogger, describeError, startTracing } from '@repo/telemetry'
import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.ts'
import { reportListening, runWorkers, terminalSignals } from './cluster.ts'
import { listen } from './listen.ts'

const closeTimeoutMs = 15_000 // after the drain: storing, sockets and pool take a few ms, and up to 12 s without a database

/** The composition root: opens what the app uses, listens, and closes it in the reverse order. */
async function serve(config: Config) {
  const logger = createLogger(config.LOG_LEVEL)
  if (config.AUTH === 'off') logger.warn('AUTH is off: everyone on this machine may read and write everything')
  const database = connect({
    url: config.DATABASE_URL,
    poolSize: config.DATABASE_POOL_SIZE,
    applicationName: 'sluice-api',
  })
  const tracing = await startTracing(config, 'sluice-api', logger)
  const store = createStore(database.db)
  const llm = createModels(config, tracing)
  const app = await buildApp({
    config,
    database,
    store: tracing ? tracing.traceStore(store) : store,
    llm,
    logger,
    tracing,
  })

  const skip = cluster.isWorker ? [...terminalSignals] : []
  for (const signal of skip) process.on(signal, () => {})
  closeWithGrace({ delay: config.DRAIN_TIMEOUT_MS + closeTimeoutMs, logger: false, skip }, async ({ err }) => {
    if (err) logger.fatal({ error: describeError(err) }, 'the process cannot go on')
    await app.chat.drain(err ? 0 : config.DRAIN_TIMEOUT_MS)
    await app.close()
    llm.close()
    await database.close()
    await tracing?.close()
  })

  const address = await listen(app, config)
  logger.info({ address, chat: llm.chat.name, embedder: llm.embedder.name }, 'listening')
  if (cluster.worker) reportListening(cluster.worker)
}

const listenErrors: Record<string, string> = {
  EADDRINUSE: 'PORT is taken by another program: stop it, or set PORT to a free one.',
  EACCES: 'PORT needs rights that this user does not have: set it to one above 1023.',
  EADDRNOTAVAIL: 'HOST is no address of this machine: set it to 127.0.0.1, or to 0.0.0.0 for all.',
  ENOTFOUND: 'HOST is not known: set it to 127.0.0.1, or to 0.0.0.0 for all.',
}

/** One line that names the cause: a wrong variable, or the port. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return 'The server could not start.'
  // A mistake in the code is found by its file and line.
  if (error instanceof SyntaxError || error instanceof TypeError || error instanceof ReferenceError)
    return `${error.stack}`
  return ('code' in error && listenErrors[String(error.code)]) || error.message
}

try {
  const config = readConfig()
  const PORT = cluster.isPrimary ? await findPort(config.HOST, config.PORT) : config.PORT
  if (cluster.isPrimary && config.WEB_CONCURRENCY > 1) runWorkers(config.WEB_CONCURRENCY, { PORT })
  else await serve({ ...config, PORT })
} catch (error) {
  console.error(explain(error))
  process.exit(1)
}
