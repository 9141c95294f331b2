import cluster from 'node:cluster'
import http from 'node:http'
import { type Config, findProxies, readConfig } from '@repo/config'
import { connect, createStore } from '@repo/db'
import { findPort } from '@repo/listen'
import type { Llm } from '@repo/llm'
import { createModels } from '@repo/models'
import { createLogger, describeError, startTracing, toSourceStack } from '@repo/telemetry'
import closeWithGrace from 'close-with-grace'
import type { FastifyBaseLogger } from 'fastify'
import { buildApp } from './app.ts'
import { reportListening, runWorkers, terminalSignals } from './processes/cluster.ts'
import { listen } from './processes/listen.ts'

const modelCheckMs = 10_000 // a list takes milliseconds, loading an embedding model some seconds
const closeTimeoutMs = 15_000 // after the drain; closing takes a few ms, and up to 12 s without a database

/** Composition root: opens resources, listens, and closes everything in reverse order. */
async function serve(config: Config) {
  const logger = createLogger(config.LOG_LEVEL)
  const proxies = findProxies(config)
  // For `fetch` in tools and of the token issuer. Models have their own HTTP client.
  if (proxies.http_proxy || proxies.https_proxy) http.setGlobalProxyFromEnv(proxies)
  if (config.AUTH === 'off') logger.warn('AUTH is off: any program on this machine can read and write all data')
  const database = connect({
    url: config.DATABASE_URL,
    poolSize: config.DATABASE_POOL_SIZE,
    applicationName: 'sluice-api',
  })
  const tracing = await startTracing(config, 'sluice-api', logger)
  const store = createStore(database.db, config.SEARCH_LANGUAGE)
  const llm = createModels(config, { tracing })
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
    if (err) logger.fatal({ error: describeError(err) }, 'fatal error, exiting')
    await app.chat.drain(err ? 0 : config.DRAIN_TIMEOUT_MS)
    await app.close()
    llm.close()
    await database.close()
    await tracing?.close()
  })

  const address = await listen(app, config)
  if (cluster.worker === undefined || cluster.worker.id === 1) void reportModels(config, llm, logger)
  logger.info({ address, chat: llm.chat.name, embedder: llm.embedder.name }, 'listening')
  if (cluster.worker) reportListening(cluster.worker)
}

/** Warns of models that are not available. Their servers may still be starting, so this stops nothing. */
async function reportModels(
  { EMBEDDING_MODEL }: Config,
  { embedder, findUnlistedModels }: Llm,
  log: FastifyBaseLogger,
) {
  const signal = AbortSignal.timeout(modelCheckMs)
  const warn = (error: unknown) => log.warn({ error: describeError(error) }, 'the model servers could not be checked')
  if (EMBEDDING_MODEL) await embedder.embed(['Is the width right?'], signal).catch(warn)
  for (const problem of await findUnlistedModels(signal).catch(() => [])) log.warn(problem)
}

const listenErrors: Record<string, string> = {
  EADDRINUSE: 'PORT is already in use. Stop the other program, or set PORT to a free port.',
  EACCES: 'PORT requires privileges that this user does not have. Set it to a port above 1023.',
  EADDRNOTAVAIL: 'HOST is not an address of this machine. Set it to 127.0.0.1, or to 0.0.0.0 for all interfaces.',
  ENOTFOUND: 'HOST cannot be resolved. Set it to 127.0.0.1, or to 0.0.0.0 for all interfaces.',
}

/** Returns one line that names the cause, such as an invalid variable or the port. */
function explainStartError(error: unknown): string {
  if (!(error instanceof Error)) return 'The server failed to start.'
  // Mistakes in the code need their file and line.
  if (error instanceof SyntaxError || error instanceof TypeError || error instanceof ReferenceError)
    return toSourceStack(`${error.stack}`)
  return ('code' in error && listenErrors[String(error.code)]) || error.message
}

try {
  const config = readConfig()
  const PORT = cluster.isPrimary ? await findPort(config.HOST, config.PORT) : config.PORT
  if (cluster.isPrimary && config.WEB_CONCURRENCY > 1) runWorkers(config.WEB_CONCURRENCY, { PORT })
  else await serve({ ...config, PORT })
} catch (error) {
  console.error(explainStartError(error))
  process.exit(1)
}
