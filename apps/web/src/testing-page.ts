import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createTestDatabase } from '@repo/db/testing'
import { startApi, startProgram, startScriptedServer, until } from '@repo/testing/processes'
import { post } from '@repo/testing/ui-stream'
import type { Page } from 'playwright-core'
import { afterAll, beforeEach, expect } from 'vitest'
import { startBrowser, whyNoBrowser } from './testing-browser.ts'

const text = 'Visitors ring twice. The swimming pool is open from nine to five. Towels are by the door.'

/** Builds the page and serves it with the real API, worker, database and pooler, a scripted model and one document. */
async function startPage(settings: Record<string, string> = {}) {
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

/** Serves the page for the tests of a file, which are skipped if there is no browser. */
export async function openPage(settings: Record<string, string> = {}) {
  const opened = whyNoBrowser ? undefined : await startPage(settings)
  afterAll(() => opened?.browser.close())
  beforeEach((context) => context.skip(whyNoBrowser !== undefined, whyNoBrowser))
  const getOpened = () => {
    if (!opened) throw new Error(whyNoBrowser)
    return opened
  }
  /** Asks a question by keyboard, and returns the model's pending answer. */
  const ask = async (page: Page, question: string) => {
    const field = page.getByLabel('Your question')
    await field.fill(question)
    const press = () => page.keyboard.press('Enter') // has no effect while an answer runs or is looked for
    await expect.poll(() => press().then(() => field.inputValue())).toBe('')
    return getOpened().model.takeAnswer()
  }
  return { getOpened, ask }
}

export const answerOf = (page: Page) => page.getByRole('article', { name: 'Answer' }).last()
export const textOf = (page: Page) => expect.poll(() => answerOf(page).textContent())

/** Waits until the worker has processed a document. */
export async function untilReady(url: string, title: string) {
  const readStatus = async () => {
    const { items }: { items: { title: string; status: string }[] } = await (await fetch(`${url}/documents`)).json()
    return items.find((document) => document.title === title)?.status
  }
  await until(async () => (await readStatus()) === 'ready')
}
