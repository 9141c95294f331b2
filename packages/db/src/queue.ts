import { sql } from 'drizzle-orm'
import { fromDrizzle, PgBoss } from 'pg-boss'
import type { Db } from './client.ts'
import { deadLetterQueue, defaultJobOptions, ingestQueue, type JobOptions } from './jobs.ts'

export type { PgBoss }

/** Its connections to PgBouncer: one to fetch, one to report, so that a slow fetch delays no heartbeat. */
const poolSize = 2
const superviseSeconds = 5 // how late a dead worker's jobs may be noticed, beyond their heartbeat

/**
 * The queue's side of a worker: pg-boss with connections of its own, through PgBouncer. It polls, because `LISTEN` does not
 * work there. `onError` hears of what goes wrong in the background. Throws when `db:migrate` has not run.
 */
export async function startQueue(url: string, onError: (error: Error) => void): Promise<PgBoss> {
  const boss = new PgBoss({
    connectionString: url,
    max: poolSize,
    application_name: 'sluice-queue',
    migrate: false,
    createSchema: false,
    schedule: false,
    superviseIntervalSeconds: superviseSeconds,
    monitorIntervalSeconds: superviseSeconds,
    registerInstance: false,
    monitorVacuum: false,
  })
  boss.on('error', onError)
  return boss.start()
}

/** Makes a queue, or changes what it does with jobs that come from now on. */
export async function ensureQueue(boss: PgBoss, name: string, options: Partial<JobOptions> = {}): Promise<void> {
  const all = { ...defaultJobOptions, ...options }
  if (await boss.getQueue(name)) await boss.updateQueue(name, all)
  else await boss.createQueue(name, all)
}

/**
 * pg-boss's tables and the queues of documents, for `db:migrate`. `db` has one connection and not more: statements of
 * pg-boss begin and end transactions.
 */
export async function migrateQueue(db: Db): Promise<void> {
  const { executeSql } = fromDrizzle(db, sql)
  // Drizzle tells the driver to leave JSON to its caller.
  const toParameter = (value: unknown) => (isRecord(value) ? JSON.stringify(value) : value)
  const asJson: typeof executeSql = (text, values) => executeSql(text, values?.map(toParameter))
  const boss = new PgBoss({ db: { executeSql: asJson }, supervise: false, schedule: false, registerInstance: false })
  boss.on('error', () => {}) // its timers may outlive `db`; what is asked for here throws by itself
  await boss.start()
  try {
    await ensureQueue(boss, deadLetterQueue)
    await ensureQueue(boss, ingestQueue, { deadLetter: deadLetterQueue })
  } finally {
    await boss.stop({ graceful: false })
  }
}

function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
