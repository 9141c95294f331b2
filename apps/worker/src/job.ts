import { readdirSync } from 'node:fs'
import { parse } from 'node:path'
import type { Db, JobOptions, Store } from '@repo/db'
import type { Llm } from '@repo/llm'
import type { createLogger } from '@repo/telemetry'

/** What a job may use. */
export type JobContext = {
  /** The query builder, for a job's own queries. Its transactions must not wait on a model. */
  db: Db
  /** The template's own queries. */
  store: Store
  llm: Llm
  log: ReturnType<typeof createLogger>
}

/**
 * Does one job. It may be done again, also after it was done: a worker can die before it has said so. `signal` aborts when
 * the worker stops, or when the job has taken too long. What it throws is logged, and the job is tried again.
 */
type Run = (context: JobContext, data: unknown, signal: AbortSignal) => Promise<unknown>

export type Job = {
  name: string
  run: Run
  options: Partial<JobOptions>
  /** How long a job may wait before somebody looks. */
  pollSeconds: number
}

/**
 * A file's name is its queue's: `sendJob(db, 'send-mail', { to })` runs jobs/send-mail.ts. Throws one line that names the
 * file and what is wrong with it.
 */
export async function loadJobs(folder: URL): Promise<Job[]> {
  const files = readdirSync(folder).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
  return Promise.all(
    files.map(async (file) => {
      const module: { default?: unknown; options?: Partial<JobOptions>; pollSeconds?: number } = await import(
        new URL(file, folder).href
      )
      if (!isRun(module.default))
        throw new Error(`jobs/${file} is no job: export default async (context, data) => { … }`)
      const { default: run, options = {}, pollSeconds = 2 } = module
      return { name: parse(file).name, run, options, pollSeconds }
    }),
  )
}

function isRun(value: unknown): value is Run {
  return typeof value === 'function'
}
