import { context, propagation } from '@opentelemetry/api'
import { sql } from 'drizzle-orm'
import type { Db } from './client.ts'

export type JobOptions = {
  /** How often a job that failed is tried again. */
  retryLimit: number
  /** Seconds before the first retry; each further one waits twice as long, up to `retryDelayMax`. */
  retryDelay: number
  retryBackoff: boolean
  retryDelayMax: number
  /** Seconds after which a worker that says nothing has died, and its jobs are tried again. */
  heartbeatSeconds: number
  /** Seconds that one try may take. */
  expireInSeconds: number
  /** Seconds that a finished job is kept. */
  deleteAfterSeconds: number
  /** The queue that gets the job after its last try. */
  deadLetter?: string
}

/** What a queue does unless its file says otherwise. */
export const defaultJobOptions: JobOptions = {
  retryLimit: 8, // with these delays, half an hour in all: most outages of a vendor are over by then
  retryDelay: 5,
  retryBackoff: true,
  retryDelayMax: 600,
  heartbeatSeconds: 15, // a worker that is killed leaves its jobs for so long
  expireInSeconds: 3600, // a book at a vendor's that takes a batch of 64 texts in 10 s needs ten minutes
  deleteAfterSeconds: 3600, // a queue of 10,000 documents an hour stays small
}

export const ingestQueue = 'ingest-document'
/** Receives the documents whose last attempt failed. */
export const deadLetterQueue = 'dead-letter-document'

/** What both of them get. `version` says which content of the document is meant, and is the job's own id. */
export type DocumentJob = { owner: string; documentId: string; version: string }

/** What a transaction and a database have in common. */
export type Executor = Pick<Db, 'execute'>

/**
 * Adds a job to a queue: in a transaction it is there if the rest is. A job whose `id` the queue has is not added again.
 * pg-boss's own `send` would keep a second pool and a clock in every process that only sends; `jobs.test.ts` compares.
 * Throws when no worker has made that queue yet.
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
    throw new Error(`There is no queue ${queue}: start the worker, which makes one for each of its jobs.`)
}

/** The trace that the caller is in, which the span of its job goes on with; null without tracing. */
function readTrace(): string | null {
  const carrier = {}
  propagation.inject(context.active(), carrier)
  return Object.keys(carrier).length > 0 ? JSON.stringify(carrier) : null
}

/** How full each queue is, over all owners. `oldestSeconds`: how long the first of the jobs that are due has waited. */
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
