import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parseEnv } from 'node:util'
import { connect, createKey, createStore } from '@repo/db'
import { createTestDatabase } from '@repo/db/testing'
import { startApi, startProgram, until } from '@repo/testing/processes'
import { post } from '@repo/testing/ui-stream'
import type { Page } from 'playwright-core'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { startBrowser, whyNoBrowser } from './testing-browser.ts'

// Follows docs/sign-in.md exactly, with its own commands and files. Only the ports differ, and better-auth is linked
// instead of installed.

const require = createRequire(import.meta.url)
const modules = require.resolve('better-auth').replace(/(.*\/node_modules)\/.*/, '$1')
const { version }: { version: string } = JSON.parse(readFileSync(`${modules}/better-auth/package.json`, 'utf8'))
const text = readFileSync(new URL('../../../docs/sign-in.md', import.meta.url), 'utf8')

/** Returns the blocks of the page in a language, with another port of the app. */
const readBlocks = (language: string, port: number) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, block = '']) =>
    block.replaceAll('4000', String(port)),
  )

async function findFreePort() {
  const server = createServer()
  await once(server.listen(0), 'listening')
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}

/** Makes the folder of the app, without its page. `startServer` runs a command in it until the file's tests have ended. */
function makeApp(port: number) {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-sign-in-'))
  const env = { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, HOME: folder }
  const [install = '', start = ''] = readBlocks('sh', port)
  const [server = ''] = readBlocks('js', port)
  const linked = install.replace(/^npm install.*$/m, `ln -s ${modules} node_modules`)
  execFileSync('sh', ['-ec', linked], { cwd: folder, env })
  writeFileSync(join(folder, 'server.mjs'), server)

  const running: { child: ChildProcess; exited: Promise<unknown> }[] = []
  const startServer = async (command: string, url: string) => {
    const child = spawn('sh', ['-c', `exec ${command}`], { cwd: folder, env, stdio: 'ignore' })
    running.push({ child, exited: once(child, 'exit') })
    await until(async () => (await fetch(url)).ok)
  }
  afterAll(async () => {
    for (const { child } of running) child.kill('SIGKILL')
    await Promise.all(running.map(({ exited }) => exited))
    rmSync(folder, { recursive: true, force: true })
  })
  return { folder, server, start, startServer }
}

/** Starts Sluice with the settings of the page, the app's server and a browser. */
async function startAll() {
  const port = await findFreePort()
  const app = makeApp(port)
  const { databaseUrl, drop } = await createTestDatabase()
  afterAll(drop)
  const [settings = ''] = readBlocks('dotenv', port)
  const api = await startApi({
    ...z.record(z.string(), z.string()).parse(parseEnv(settings)),
    DATABASE_URL: databaseUrl,
  })
  startProgram('apps/worker/dist/worker.js', { DATABASE_URL: databaseUrl })
  const [html = ''] = readBlocks('html', port)
  writeFileSync(join(app.folder, 'index.html'), html.replaceAll('http://localhost:3000', api.url))
  const url = `http://localhost:${port}`
  await app.startServer(app.start, url)
  const browser = await startBrowser(url)
  afterAll(browser.close)
  return { ...app, port, databaseUrl, api, url, browser }
}

const opened = whyNoBrowser ? undefined : await startAll()
const getOpened = () => {
  if (!opened) throw new Error(whyNoBrowser)
  return opened
}
beforeEach((context) => context.skip(whyNoBrowser !== undefined, whyNoBrowser))

const password = 'correct horse'

/** Opens the app in a browser of its own and signs a new user up. */
async function signUp(email: string) {
  const page = await getOpened().browser.open()
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign up' }).click()
  await page.getByRole('button', { name: 'Sign out' }).waitFor()
  return page
}

async function addDocument(page: Page, name: string, content: string) {
  const file = { name, mimeType: 'text/plain', buffer: Buffer.from(content) }
  await page.getByLabel('Add a document').setInputFiles(file)
  await page.getByText(`${name} (ready)`).waitFor()
}

/** Asks a question and returns the complete answer. */
async function ask(page: Page, question: string) {
  await page.getByLabel('Question').fill(question)
  const button = page.getByRole('button', { name: 'Ask' })
  await button.click()
  await expect.poll(() => button.isEnabled()).toBe(true)
  const answer = await page.locator('#answer').textContent()
  expect(answer).toContain('(Offline answer: ') // also if no document says it
  return answer
}

const listDocuments = (page: Page) => page.locator('#documents li').allTextContents()

/** Returns a token of the page's user that has expired. The same server issues it, with another lifetime. */
async function issueExpired(page: Page) {
  const { folder, server, startServer, port } = getOpened()
  const otherPort = await findFreePort()
  const edited = server.replace("'15m'", "'-2m'").replace(`listen(${port})`, `listen(${otherPort})`)
  writeFileSync(join(folder, 'expired.mjs'), edited)
  const url = `http://localhost:${otherPort}`
  await startServer('node --env-file=.env expired.mjs', url)
  const cookies = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`)
  const response = await fetch(`${url}/api/auth/token`, { headers: { cookie: cookies.join('; ') } })
  const { token }: { token: string } = await response.json()
  return token
}

describe('the app of docs/sign-in.md', () => {
  it('uses the tested version of better-auth', () => {
    expect(text).toContain(`npm install better-auth@${version}\n`)
  })

  it('shows two users their own documents and answers only', async () => {
    const [ada, bob] = [await signUp('ada@example.com'), await signUp('bob@example.com')]
    await addDocument(ada, 'Herons.txt', 'The heron eats at noon, by the old mill.')
    await addDocument(bob, 'Storks.txt', 'The stork eats at dusk, on the church.')
    expect(await ask(ada, 'When does the heron eat?')).toContain('at noon')
    expect(await ask(ada, 'When does the stork eat?')).not.toContain('at dusk')
    expect(await ask(bob, 'When does the stork eat?')).toContain('at dusk')
    expect(await ask(bob, 'When does the heron eat?')).not.toContain('at noon')
    for (const page of [ada, bob]) await page.reload()
    await expect.poll(() => listDocuments(ada)).toEqual(['Herons.txt (ready)'])
    await expect.poll(() => listDocuments(bob)).toEqual(['Storks.txt (ready)'])
    await Promise.all([ada.context().close(), bob.context().close()])
  })

  it('lets a user sign out and in again, and refuses a wrong password', async () => {
    const page = await signUp('carol@example.com')
    await addDocument(page, 'Notes.txt', 'The door is green.')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Email').fill('carol@example.com')
    await page.getByLabel('Password').fill('wrong password')
    expect(await page.getByText('Notes.txt').count()).toBe(0)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('alert').filter({ hasText: 'Invalid email or password' }).waitFor()
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await expect.poll(() => listDocuments(page)).toEqual(['Notes.txt (ready)'])
    await page.context().close()
  })

  it('gets a new token when one has expired, and asks to sign in when the session has ended', async () => {
    const { api } = getOpened()
    const page = await signUp('dan@example.com')
    await addDocument(page, 'Notes.txt', 'The door is green.')
    const token = await issueExpired(page)
    const rejected = await fetch(`${api.url}/documents`, { headers: { authorization: `Bearer ${token}` } })
    expect(await rejected.json()).toMatchObject({ status: 401, code: 'token_expired' })

    const statuses: number[] = []
    page.on('response', (response) => {
      if (response.url().endsWith('/documents') && response.request().method() === 'GET')
        statuses.push(response.status())
    })
    await page.route('**/api/auth/token', (route) => route.fulfill({ json: { token } }), { times: 1 })
    await page.reload()
    await expect.poll(() => listDocuments(page)).toEqual(['Notes.txt (ready)'])
    expect(statuses).toEqual([401, 200])

    const endSession = () => page.context().clearCookies()
    await page.route('**/api/auth/token', (route) => endSession().then(() => route.fulfill({ json: { token } })), {
      times: 1,
    })
    await page.reload()
    await page.getByRole('button', { name: 'Sign in' }).waitFor()
    await page.getByRole('alert').filter({ hasText: /./ }).waitFor()
    expect(statuses).toEqual([401, 200, 401])
    expect((await fetch(`${api.url}/documents`)).status).toBe(401)
    await page.context().close()
  })

  it('shows what is shared with the organization to its members only', async () => {
    const { folder, databaseUrl, api } = getOpened()
    const { db, close } = connect({ url: databaseUrl, poolSize: 1 })
    const key = await createKey(createStore(db), 'librarian', { organization: 'acme', isLibrarian: true })
    await close()
    const handbook = { title: 'Handbook', text: 'The office opens at nine.', shared: true }
    expect((await post(`${api.url}/documents`, { authorization: `Bearer ${key}` }, handbook)).status).toBe(202)
    const [eve, fay] = [await signUp('eve@example.com'), await signUp('fay@example.com')]
    const users = new DatabaseSync(join(folder, 'users.db'))
    users.exec(`update user set organization = 'acme' where email = 'eve@example.com'`)
    users.close()
    for (const page of [eve, fay]) await page.reload()
    await eve.getByText('Handbook (ready)').waitFor()
    expect(await ask(eve, 'When does the office open?')).toContain('at nine')
    expect(await ask(fay, 'When does the office open?')).not.toContain('at nine')
    expect(await listDocuments(fay)).toEqual([])
    await Promise.all([eve.context().close(), fay.context().close()])
  })

  it('contacts its own server and Sluice only, and logs nothing but rejected requests', () => {
    const { browser, url, api } = getOpened()
    expect([...browser.hosts].sort()).toEqual([url, api.url].sort())
    expect(browser.errors.filter((error) => !error.includes('status of 401'))).toEqual([])
  })
})
