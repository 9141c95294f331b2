import { context, propagation } from '@opentelemetry/api'
import { sql } from 'drizzle-orm'
import type { Db } from './client.ts'

export type JobOptions = {
  /** How often a failed job is retried. */
  retryLimit: number
  /** Seconds before the first retry. The delay doubles with each retry, up to `retryDelayMax`. */
  retryDelay: number
  retryBackoff: boolean
  retryDelayMax: number
  /** Seconds without a heartbeat after which a worker counts as crashed, and its jobs are retried. */
  heartbeatSeconds: number
  /** Maximum seconds of one attempt. */
  expireInSeconds: number
  /** Seconds after which a finished job is deleted. */
  deleteAfterSeconds: number
  /** The queue that receives the job after its last attempt. */
  deadLetter?: string
}

/** The default options of a queue. */
export const defaultJobOptions: JobOptions = {
  retryLimit: 8, // half an hour with these delays, which outlasts most outages of a provider
  retryDelay: 5,
  retryBackoff: true,
  retryDelayMax: 600,
  heartbeatSeconds: 15, // how long the jobs of a killed worker are delayed
  expireInSeconds: 3600, // a book takes ten minutes at a provider that embeds 64 texts in 10 s
  deleteAfterSeconds: 3600, // keeps the table small at 10,000 documents per hour
}

export const ingestQueue = 'ingest-document'
/** Dead letter queue: receives documents whose last attempt failed. */
export const deadLetterQueue = 'dead-letter-document'

/** The payload of both queues. `version` identifies the document's content, and is also the job's id. */
export type DocumentJob = { owner: string; documentId: string; version: string }

/** A transaction or a database. */
export type Executor = Pick<Db, 'execute'>

/**
 * Adds a job to a queue, as part of the transaction if `db` is one. Does nothing if a job with this `id` exists.
 * pg-boss's own `send` would need a second pool and timers in every process that only sends; `jobs.test.ts` compares both.
 * Throws if no worker has created the queue yet.
 */
export async function sendJob(db: Executor, queue: string, data: object, id: string = crypto.randomUUID()) {
  const [row] = await db.execute<{ known: boolean }>(sql`
    with queue as (select * from pgboss.queue where name = ${queue}), added as (
      insert into pgboss.job (id, name, data, retry_limit, retry_delay, retry_backoff, retry_delay_max, expire_seconds,
        deletion_seconds, keep_until, policy, dead_letter, heartbeat_seconds, trace_context)
      select ${id}::uuid, name, ${JSON.stringify(data)}::jsonb, retry_limit, retry_delay, retry_backoff,
        retry_delay_max, expire_seconds, deletion_seconds, now() + retention_seconds * interval '1 second', policy,
        dead_letter, heartbeat_seconds, ${readTrace()}::jsonb
      from queue on conflict do nothing)
    select exists (select from queue) as known`)
  if (!row?.known)
    throw new Error(`Queue ${queue} does not exist. Start the worker, which creates a queue for each of its jobs.`)
}

/** Returns the caller's trace context, which the job's span continues, or null without tracing. */
function readTrace(): string | null {
  const carrier = {}
  propagation.inject(context.active(), carrier)
  return Object.keys(carrier).length > 0 ? JSON.stringify(carrier) : null
}

/** Counts jobs by queue and state, across all owners. `oldestSeconds` is the waiting time of the oldest job that is due. */
export async function countJobs(db: Executor) {
  const rows = await db.execute<{
    queue: string
    waiting: number
    active: number
    failed: number
    oldestSeconds: number
  }>(sql`
    select queue.name as queue,
      count(*) filter (where state in ('created', 'retry'))::int as waiting,
      count(*) filter (where state = 'active')::int as active,
      count(*) filter (where state = 'failed')::int as failed,
      coalesce(extract(epoch from now() - min(start_after) filter (
        where state in ('created', 'retry') and start_after <= now())), 0)::float as "oldestSeconds"
    from pgboss.queue left join pgboss.job on job.name = queue.name and state in ('created', 'retry', 'active', 'failed')
    where queue.name not like '\\_\\_pgboss%' group by queue.name order by queue.name`)
  return [...rows]
}
