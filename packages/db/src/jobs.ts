import { context, propagation } from '@opentelemetry/api'
import { type SQL, sql } from 'drizzle-orm'
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

/** What a job receives. Jobs whose data has an `owner` take turns with those of other owners. */
export type JobData = Record<string, unknown> & { owner?: string }

/** Any number works as long as nothing else in this database uses it as the first half of a lock. */
const turnLock = 7_305_412

/**
 * Adds a job to a queue, as part of the transaction if `db` is one. Does nothing if a job with this `id` exists.
 * pg-boss's own `send` would need a second pool and timers in every process that only sends; `jobs.test.ts` compares both.
 * Throws if no worker has created the queue yet.
 */
export async function sendJob(db: Executor, queue: string, data: JobData, id: string = crypto.randomUUID()) {
  const { owner } = data
  const group = owner ?? queue // jobs without an owner count as one owner's
  // A second statement, because it must see the jobs of those that held the lock before.
  if (owner) await db.execute(sql`select pg_advisory_xact_lock(${turnLock}, hashtext(${owner}))`)
  const [row] = await db.execute<{ known: boolean }>(sql`
    with queue as (select * from pgboss.queue where name = ${queue}), added as (
      insert into pgboss.job (id, name, data, retry_limit, retry_delay, retry_backoff, retry_delay_max, expire_seconds,
        deletion_seconds, keep_until, policy, dead_letter, heartbeat_seconds, group_id, priority, trace_context)
      select ${id}::uuid, name, ${JSON.stringify(data)}::jsonb, retry_limit, retry_delay, retry_backoff,
        retry_delay_max, expire_seconds, deletion_seconds, now() + retention_seconds * interval '1 second', policy,
        dead_letter, heartbeat_seconds, ${group}, ${nextTurn(queue, group)}, ${readTrace()}::jsonb
      from queue on conflict do nothing)
    select exists (select from queue) as known`)
  if (!row?.known)
    throw new Error(`Queue ${queue} does not exist. Start the worker, which creates a queue for each of its jobs.`)
}

/**
 * The priority of a group's next job. Workers run jobs by priority, then by age. An owner's first waiting job gets that of
 * the queue's head, and each further one is 1 lower. So a newcomer waits for one job of each other owner.
 */
function nextTurn(queue: string, group: string): SQL {
  const isWaiting = sql`name = ${queue} and state < 'active'`
  return sql`coalesce(least(
    (select min(priority) from pgboss.job where ${isWaiting} and group_id = ${group}) - 1,
    (select max(priority) from pgboss.job where ${isWaiting} and not blocked)), 0)`
}

/** Prepares pg-boss's table for turns, and gives a turn to the documents that an earlier version has queued. */
export async function prepareTurns(db: Executor): Promise<void> {
  await db.execute(sql`
    create index if not exists job_turns on pgboss.job (name, group_id, priority) where state < 'active'`)
  await db.execute(sql`
    with turns as (
      select id, row_number() over (partition by data->>'owner' order by created_on) as turn
      from pgboss.job where name = ${ingestQueue} and state < 'active' and group_id is null)
    update pgboss.job set group_id = data->>'owner', priority = 1 - turn
    from turns where job.id = turns.id and name = ${ingestQueue} and state < 'active'`)
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
