import { ensureQueue, type PgBoss, startQueue } from '@repo/db/queue'
import { bindTrace } from '@repo/telemetry'
import type { Job, JobContext } from './job.ts'

export type JobsOptions = {
  /** Connects through PgBouncer. */
  databaseUrl: string
  context: JobContext
  jobs: Job[]
  /** Concurrent jobs per queue and owner. One more runs for another owner, which then need not wait for slow files. */
  concurrency: number
}

/**
 * Starts processing queued jobs. `stop` starts no further job and waits up to `timeoutMs` for running ones. Jobs that
 * are not finished by then are left to the next worker.
 */
export async function startJobs({ databaseUrl, context, jobs, concurrency }: JobsOptions) {
  const { log } = context
  const boss = await startQueue(databaseUrl, (error) => log.error({ err: error }, 'the queue is unavailable'))
  for (const job of jobs) {
    await ensureQueue(boss, job.name, job.options)
    await drainQueue(boss, job, context, concurrency)
  }
  return { stop: (timeoutMs: number) => boss.stop({ graceful: true, timeout: timeoutMs }) }
}

/**
 * Runs up to `concurrency` jobs of one owner at once, and one more of another owner. pg-boss would wait for the next poll
 * after each job, so a worker that ran one is notified, and fetches the next immediately.
 */
async function drainQueue(boss: PgBoss, job: Job, context: JobContext, concurrency: number) {
  const slots = { localConcurrency: concurrency + 1, localGroupConcurrency: concurrency }
  const options = { ...slots, batchSize: 1, pollingIntervalSeconds: job.pollSeconds }
  await boss.work<object>(job.name, options, async ([next]) => {
    try {
      if (next) await runJob(job, context, next.data, next.signal)
    } finally {
      for (const { id, count } of boss.getWipData()) if (count > 0) boss.notifyWorker(id)
    }
  })
}

async function runJob({ name, run }: Job, options: JobContext, data: object, signal: AbortSignal) {
  const startedAt = performance.now()
  const context = { ...options, log: bindTrace(options.log) }
  const fields = () => ({ job: name, durationMs: Math.round(performance.now() - startedAt) })
  try {
    await run(context, data, signal)
    context.log.info(fields(), 'job ended')
  } catch (error) {
    context.log.warn({ ...fields(), err: error }, 'job failed')
    // The queue stores the message. A database error would contain the whole statement, including the document's text.
    throw new Error('Job failed. See the worker log.')
  }
}
