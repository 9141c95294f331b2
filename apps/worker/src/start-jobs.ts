import { ensureQueue, type PgBoss, startQueue } from '@repo/db/queue'
import { bindTrace } from '@repo/telemetry'
import type { Job, JobContext } from './job.ts'

export type JobsOptions = {
  /** Through PgBouncer. */
  databaseUrl: string
  context: JobContext
  jobs: Job[]
  /** Jobs of each kind at once. */
  concurrency: number
}

/**
 * Does the jobs that are queued, and those that come. `stop` begins no more, waits `timeoutMs` for those that run, and
 * leaves the rest to the next worker.
 */
export async function startJobs({ databaseUrl, context, jobs, concurrency }: JobsOptions) {
  const { log } = context
  const boss = await startQueue(databaseUrl, (error) => log.error({ err: error }, 'the queue does not answer'))
  for (const job of jobs) {
    await ensureQueue(boss, job.name, job.options)
    for (let n = 0; n < concurrency; n += 1) await workOn(boss, job, context)
  }
  return { stop: (timeoutMs: number) => boss.stop({ graceful: true, timeout: timeoutMs }) }
}

/** One job at a time; after each, it looks for the next at once. pg-boss's own `localConcurrency` would wait in between. */
async function workOn(boss: PgBoss, job: Job, context: JobContext) {
  let id = ''
  const options = { batchSize: 1, pollingIntervalSeconds: job.pollSeconds }
  id = await boss.work<object>(job.name, options, async ([next]) => {
    try {
      if (next) await runJob(job, context, next.data, next.signal)
    } finally {
      boss.notifyWorker(id)
    }
  })
}

async function runJob({ name, run }: Job, options: JobContext, data: object, signal: AbortSignal) {
  const startedAt = performance.now()
  const context = { ...options, log: bindTrace(options.log) }
  const line = () => ({ job: name, durationMs: Math.round(performance.now() - startedAt) })
  try {
    await run(context, data, signal)
    context.log.info(line(), 'job ended')
  } catch (error) {
    context.log.warn({ ...line(), err: error }, 'job failed')
    // The queue stores what it is told: an error of the database would hold the whole statement, document and all.
    throw new Error('it failed: the log of the worker says why')
  }
}
