import { ensureQueue, startQueue } from '@repo/db/queue'
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
    const options = {
      batchSize: 1,
      localConcurrency: concurrency,
      pollingIntervalSeconds: job.pollSeconds,
      burstWhenBatchFull: true, // after a job, look for the next one at once
    }
    await boss.work<object>(job.name, options, async ([next]) => {
      if (next) await runJob(job, context, next.data, next.signal)
    })
  }
  return { stop: (timeoutMs: number) => boss.stop({ graceful: true, timeout: timeoutMs }) }
}

async function runJob({ name, run }: Job, context: JobContext, data: object, signal: AbortSignal) {
  const startedAt = performance.now()
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
