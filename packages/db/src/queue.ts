import { sql } from 'drizzle-orm'
import { fromDrizzle, PgBoss } from 'pg-boss'
import type { Db } from './client.ts'
import { readDatabaseUrl } from './database-url.ts'
import { createDropper } from './driver/semaphore.ts'
import { deadLetterQueue, defaultJobOptions, ingestQueue, type JobOptions, prepareTurns } from './jobs.ts'

export type { PgBoss }

/** Connections to PgBouncer: one to fetch and one to report, so that a slow fetch delays no heartbeat. */
const poolSize = 2
const superviseSeconds = 5 // how late a crashed worker may be detected, in addition to its heartbeat

/**
 * Starts pg-boss for a worker, with its own connections through PgBouncer. It polls, because `LISTEN` does not work
 * there. `onError` receives background errors. Throws if `db:migrate` has not run.
 */
export async function startQueue(url: string, onError: (error: Error) => void): Promise<PgBoss> {
  const boss = new PgBoss({
    application_name: 'sluice-queue',
    ...readDatabaseUrl(url),
    max: poolSize,
    migrate: false,
    createSchema: false,
    schedule: false,
    superviseIntervalSeconds: superviseSeconds,
    monitorIntervalSeconds: superviseSeconds,
    registerInstance: false,
    monitorVacuum: false,
  })
  const dropIfReadOnly = createDropper((query) => boss.getDb().executeSql(query))
  boss.on('error', (error) => {
    void dropIfReadOnly(error)
    onError(error)
  })
  return boss.start()
}

/** Creates a queue, or updates its options for new jobs. */
export async function ensureQueue(boss: PgBoss, name: string, options: Partial<JobOptions> = {}): Promise<void> {
  const all = { ...defaultJobOptions, ...options }
  if (await boss.getQueue(name)) await boss.updateQueue(name, all)
  else await boss.createQueue(name, all)
}

/**
 * Creates pg-boss's tables and the document queues, for `db:migrate`. `db` must have exactly one connection, because
 * pg-boss sends BEGIN and COMMIT as separate statements.
 */
export async function migrateQueue(db: Db): Promise<void> {
  const { executeSql } = fromDrizzle(db, sql)
  // Drizzle configures the driver not to serialize JSON.
  const toParameter = (value: unknown) => (isRecord(value) ? JSON.stringify(value) : value)
  const asJson: typeof executeSql = (text, values) => executeSql(text, values?.map(toParameter))
  const boss = new PgBoss({ db: { executeSql: asJson }, supervise: false, schedule: false, registerInstance: false })
  boss.on('error', () => {}) // its timers may outlive `db`; the calls below throw their own errors
  await boss.start()
  try {
    await ensureQueue(boss, deadLetterQueue)
    await ensureQueue(boss, ingestQueue, { deadLetter: deadLetterQueue })
    await prepareTurns(db)
  } finally {
    await boss.stop({ graceful: false })
  }
}

function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
