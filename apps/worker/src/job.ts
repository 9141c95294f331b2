import { parse } from 'node:path'
import type { Db, JobOptions, Store, UsageRecorder } from '@repo/db'
import type { createExtract } from '@repo/extract'
import type { Llm } from '@repo/llm'
import type { createLogger } from '@repo/telemetry'

/** What a job can use. */
export type JobContext = {
  /** The query builder for a job's own queries. Never await a model inside a transaction. */
  db: Db
  /** The queries of the template. */
  store: Store
  llm: Llm
  /** Counts what models are used for, per owner. */
  usage: UsageRecorder
  /** Returns the text of a file. */
  extract: ReturnType<typeof createExtract>
  log: ReturnType<typeof createLogger>
}

/**
 * Runs one job. A job may run again even after it succeeded, because a worker can crash before it reports success.
 * `signal` is aborted when the worker stops or the job times out. An error is logged, and the job is retried.
 */
type Run = (context: JobContext, data: unknown, signal: AbortSignal) => Promise<unknown>

export type Job = {
  name: string
  run: Run
  options: Partial<JobOptions>
  /** Seconds between two polls of the queue, and so the longest delay before a job starts. */
  pollSeconds: number
}

type JobModule = { default?: unknown; options?: Partial<JobOptions>; pollSeconds?: number }

/**
 * Loads all jobs of a folder. A file is named after its queue: `sendJob(db, 'send-mail', { to })` runs
 * jobs/send-mail.ts. `load` imports a file by its name. Callers pass it and the names, because the bundler sees only
 * literal folders. Throws an error that names the file if a file does not export a job.
 */
export async function loadJobs(names: string[], load: (name: string) => Promise<JobModule>): Promise<Job[]> {
  const files = names.filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
  return Promise.all(
    files.map(async (file) => {
      const { name } = parse(file)
      const { default: run, options = {}, pollSeconds = 2 } = await load(name)
      if (!isRun(run))
        throw new Error(`jobs/${file} has no default export. Add: export default async (context, data) => { … }`)
      return { name, run, options, pollSeconds }
    }),
  )
}

function isRun(value: unknown): value is Run {
  return typeof value === 'function'
}
