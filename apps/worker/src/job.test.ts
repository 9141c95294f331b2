import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { connect, createStore, createUsageRecorder, sendJob } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { createExtract } from '@repo/extract'
import { toLlm } from '@repo/llm'
import { createLogger } from '@repo/telemetry'
import { createTestModels } from '@repo/testing/test-models'
import { expect, it, onTestFinished } from 'vitest'
import { loadJobs } from './job.ts'
import { startJobs } from './start-jobs.ts'

function writeJobs(files: Record<string, string>): URL {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-jobs-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  for (const [name, source] of Object.entries(files)) writeFileSync(join(directory, name), source)
  return pathToFileURL(`${directory}/`)
}

const loadFrom = (folder: URL) => (name: string) => import(new URL(`${name}.ts`, folder).href)

it('a file in jobs/ runs once for each job that is sent under its name, and again after an error', async () => {
  const test = await createTestDatabase()
  const { db, close } = connect({ url: test.databaseUrl, poolSize: 2 })
  const context = {
    db,
    store: createStore(db),
    llm: toLlm(createTestModels()),
    usage: createUsageRecorder(),
    extract: createExtract(),
    log: createLogger('silent'),
  }
  const folder = writeJobs({
    'greet.ts': `
      export const pollSeconds = 0.5
      export const options = { retryDelay: 1 }
      const failed = new Set()
      export default async ({ store }, { name }) => {
        if (name === 'bob' && !failed.has(name)) { failed.add(name); throw new Error('once') }
        await store.owners.ensure('greeted ' + name)
      }`,
    'greet.test.ts': 'throw new Error("not a job")',
  })
  const jobs = await loadJobs(readdirSync(folder), loadFrom(folder))
  expect(jobs.map(({ name }) => name)).toEqual(['greet'])
  const { stop } = await startJobs({ databaseUrl: test.databaseUrl, context, jobs, concurrency: 1 })
  await sendJob(db, 'greet', { name: 'ada' })
  await sendJob(db, 'greet', { name: 'bob' })
  const greeted = async () =>
    (await db.execute<{ name: string }>(`select name from owners order by name`)).map(({ name }) => name)
  await expect.poll(greeted).toEqual(['greeted ada', 'greeted bob'])
  await stop(1000)
  await close()
  await test.drop()
})

it('a file without a job is reported by name', async () => {
  const folder = writeJobs({ 'empty.ts': 'export const a = 1' })
  await expect(loadJobs(readdirSync(folder), loadFrom(folder))).rejects.toThrow('jobs/empty.ts has no default export')
})
