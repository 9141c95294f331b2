import { writeFile } from 'node:fs/promises'
import { setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { readWorkerConfig, type WorkerConfig } from '@repo/config'
import { connect, createStore } from '@repo/db'
import { createModels } from '@repo/models'
import { createLogger, startTracing } from '@repo/telemetry'
import closeWithGrace from 'close-with-grace'
import { loadJobs } from './job.ts'
import { startJobs } from './start-jobs.ts'

const closeTimeoutMs = 10_000 // for running jobs; an interrupted job runs again
const healthMs = 5000
const niceness = 10 // on a shared machine, answers take priority over documents
const healthFile = join(tmpdir(), 'sluice-worker') // touched while the worker is healthy; Compose checks its age

/** The composition root: opens what the jobs use, runs them, and closes everything in reverse order. */
async function startWorker(config: WorkerConfig) {
  setPriority(niceness)
  const log = createLogger(config.LOG_LEVEL)
  const { DATABASE_URL: databaseUrl, WORKER_CONCURRENCY: concurrency } = config
  const database = connect({ url: databaseUrl, poolSize: concurrency + 1, applicationName: 'sluice-worker' })
  const tracing = await startTracing(config, 'sluice-worker', log)
  const llm = createModels(config, tracing)
  const jobs = await loadJobs(new URL('./jobs/', import.meta.url), (name) => import(`./jobs/${name}.ts`))
  const context = { db: database.db, store: createStore(database.db), llm, log }
  const { stop } = await startJobs({ databaseUrl, context, jobs, concurrency })
  const health = setInterval(async () => {
    await database.ping(healthMs).then(
      () => writeFile(healthFile, ''),
      (error) => log.error({ err: error }, 'the database is unavailable'),
    )
  }, healthMs)

  closeWithGrace({ delay: 2 * closeTimeoutMs, logger: false }, async ({ err }) => {
    if (err) log.fatal({ err }, 'fatal error, exiting')
    clearInterval(health)
    await stop(err ? 1000 : closeTimeoutMs)
    llm.close()
    await database.close()
    await tracing?.close()
  })
  log.info({ embedder: llm.embedder.name }, 'worker started')
}

try {
  await startWorker(readWorkerConfig())
} catch (error) {
  console.error(error instanceof Error ? error.message : 'Failed to start the worker.')
  process.exit(1)
}
