import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createTestDatabase } from '@repo/db/testing'
import { startApi, startProgram, startScriptedServer, until } from '@repo/testing/processes'
import { post } from '@repo/testing/ui-stream'
import { afterAll } from 'vitest'
import { startBrowser } from './testing-browser.ts'

const text = 'Visitors ring twice. The swimming pool is open from nine to five. Towels are by the door.'

/** Builds the page and serves it with the real API, worker, database and pooler, a scripted model and one document. */
export async function startPage(settings: Record<string, string> = {}) {
  // Test files may build at the same time, so none empties the folder.
  const args = ['run', 'build', '--', '--emptyOutDir=false']
  const build = promisify(execFile)('npm', args, { cwd: fileURLToPath(new URL('..', import.meta.url)) })
  const { stdout, stderr } = await build
  const model = await startScriptedServer()
  const test = await createTestDatabase()
  afterAll(test.drop)
  const env = { DATABASE_URL: test.databaseUrl, PGBOUNCER_ADMIN_URL: process.env.PGBOUNCER_ADMIN_URL ?? '' }
  const { url } = await startApi({ ...env, ...model.env, ...settings })
  startProgram('apps/worker/dist/worker.js', { DATABASE_URL: test.databaseUrl })
  const browser = await startBrowser(url)
  await post(`${url}/documents`, {}, { title: 'The pool', text })
  await untilReady(url, 'The pool')
  const built = `${stdout}${stderr}`.match(/first load: .*/)?.[0] ?? ''
  return { test, url, model, browser, built }
}

/** Waits until the worker has processed a document. */
export async function untilReady(url: string, title: string) {
  const readStatus = async () => {
    const { items }: { items: { title: string; status: string }[] } = await (await fetch(`${url}/documents`)).json()
    return items.find((document) => document.title === title)?.status
  }
  await until(async () => (await readStatus()) === 'ready')
}
