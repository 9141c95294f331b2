import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readWorkerConfig, type WorkerConfig } from '@repo/config'
import { connect, createStore, createUsageRecorder, type Database, isOutage } from '@repo/db'
import { createExtract } from '@repo/extract'
import { createModels } from '@repo/models'
import { createLogger, startTracing } from '@repo/telemetry'
import closeWithGrace from 'close-with-grace'
import { loadJobs } from './job.ts'
import { startJobs } from './start-jobs.ts'

const closeTimeoutMs = 10_000 // for running jobs; an interrupted job runs again
const healthMs = 5000
const usageMs = 1000 // of usage that a crash can lose
const retryMs = 1000 // between attempts to reach the database at the start; PgBouncer too retries once per second
const pingTimeoutMs = 30_000 // longer than the driver's and PgBouncer's own limits, whose errors name the cause
const niceness = 10 // on a shared machine, answers take priority over documents
const healthFile = join(tmpdir(), 'sluice-worker') // touched while the worker is healthy; Compose checks its age

/** The composition root: opens what the jobs use, runs them, and closes everything in reverse order. */
async function startWorker(config: WorkerConfig) {
  setPriority(niceness)
  const log = createLogger(config.LOG_LEVEL)
  const { DATABASE_URL: databaseUrl, WORKER_CONCURRENCY: concurrency } = config
  const database = connect({ url: databaseUrl, poolSize: concurrency + 1, applicationName: 'sluice-worker' })
  const tracing = await startTracing(config, 'sluice-worker', log)
  const llm = createModels(config, { tracing })
  const jobFiles = readdirSync(new URL('./jobs/', import.meta.url))
  const jobs = await loadJobs(jobFiles, (name) => import(`./jobs/${name}.ts`))
  await waitUntilReachable(database, (error) => log.error({ err: error }, 'the database is unavailable'))
  const store = createStore(database.db, config.SEARCH_LANGUAGE)
  const usage = createUsageRecorder()
  const context = { db: database.db, store, llm, usage, extract: createExtract(config.EXTRACTOR_URL), log }
  const { stop } = await startJobs({ databaseUrl, context, jobs, concurrency })
  const health = setInterval(async () => {
    await database.ping(healthMs).then(
      () => writeFile(healthFile, ''),
      (error) => log.error({ err: error }, 'the database is unavailable'),
    )
  }, healthMs)

  const saveUsage = () =>
    usage.flush(store.usage.store).catch((error) => log.warn({ err: error }, 'usage could not be stored yet'))
  const saving = setInterval(saveUsage, usageMs)

  closeWithGrace({ delay: 2 * closeTimeoutMs, logger: false }, async ({ err }) => {
    if (err) log.fatal({ err }, 'fatal error, exiting')
    clearInterval(health)
    await stop(err ? 1000 : closeTimeoutMs)
    clearInterval(saving)
    await saveUsage()
    llm.close()
    await database.close()
    await tracing?.close()
  })
  log.info({ embedder: llm.embedder.name }, 'worker started')
}

/**
 * Lets the worker start before its database, or while the database restarts. Throws what waiting does not cure, such as
 * a wrong password.
 */
async function waitUntilReachable({ ping }: Database, onOutage: (error: unknown) => void) {
  for (;;) {
    try {
      return await ping(pingTimeoutMs)
    } catch (error) {
      if (!isOutage(error)) throw error instanceof Error && error.cause ? error.cause : error // not Drizzle's SQL
      onOutage(error)
      await sleep(retryMs)
    }
  }
}

try {
  await startWorker(readWorkerConfig())
} catch (error) {
  console.error(error instanceof Error ? error.message : 'Failed to start the worker.')
  process.exit(1)
}
