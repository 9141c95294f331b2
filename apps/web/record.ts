import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { env, execPath } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { type MockBody, startMockModel } from '@repo/testing/mock-model'
import { chromium, type Page } from 'playwright-core'

// npm run record -w @repo/web: runs `npm start` and `npm run bench -- --live`, and films the page as page.webp.

const root = join(import.meta.dirname, '../..')
const folder = join(root, '.data/record')
const port = '3900' // not that of another `npm start`
const url = `http://localhost:${port}`
const [executablePath, encoder] = ['/usr/bin/chromium', '/usr/bin/img2webp']
const frameMs = 300
const speed = 2 // of the film, relative to reality
const lastFrameMs = 2500 // before the film starts again
const wordMs = 160 // between two words of the answer, which lasts as long as the load grows
// Five tokens per second per answer leave CPU time to Chromium. Clients start over 15 seconds.
const load = ['bench', '--live', '--only', 'three-thousand', '--streams', '500', '--seconds', '15']

/** Answers the typed question by quoting the end of the first passage in the prompt. The load gets the mock. */
function answerInstead({ messages = [] }: MockBody, response: ServerResponse): boolean {
  const content = messages.at(-1)?.content
  const prompt = typeof content === 'string' ? content : '' // the typed question has no images
  if (prompt.includes('[mock ')) return false
  const [, , passage = ''] = prompt.match(/<(passage-\w+) n="1".*?>\n(.*?)\n<\/\1>/s) ?? []
  const quotes = passage.split('\n\n').slice(-2)
  void streamWords(quotes.map((quote) => `${quote} [1]`).join('\n\n'), response)
  return true
}

async function streamWords(text: string, response: ServerResponse): Promise<void> {
  const write = (choice: object) => response.write(`data: ${JSON.stringify({ choices: [choice] })}\n\n`)
  for (const content of text.match(/\s*\S+/g) ?? []) {
    write({ delta: { content } })
    await sleep(wordMs)
  }
  write({ delta: {}, finish_reason: 'stop' })
  response.end('data: [DONE]\n\n')
}

const launch = (args: string[], more = {}) =>
  spawn(execPath, ['infra/local/launch.mjs', ...args], { cwd: root, stdio: 'inherit', env: { ...env, ...more } })

async function areDocumentsReady(): Promise<boolean> {
  const { items }: { items: { status: string }[] } = await (await fetch(`${url}/documents`)).json()
  return items.length > 0 && items.every(({ status }) => status === 'ready')
}

/** Takes screenshots until `signal` aborts. Returns the encoder's options: files and their durations. */
async function film(page: Page, signal: AbortSignal): Promise<string[]> {
  const clip = { x: 280, y: 50, width: 1000, height: 764 } // the conversation and the live view
  const options: string[] = []
  for (let index = 0; !signal.aborted; index += 1) {
    const [startedAt, path] = [performance.now(), join(folder, `${index}.png`)]
    await page.screenshot({ path, clip })
    await sleep(Math.max(0, startedAt + frameMs - performance.now()))
    options.push('-d', `${Math.round((performance.now() - startedAt) / speed)}`, path)
  }
  return options.with(-2, `${lastFrameMs}`)
}

if (![executablePath, encoder].every(existsSync))
  throw new Error('Chromium or img2webp is missing. Run `apt-get install chromium webp fonts-inter`.')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
const model = await startMockModel({ answerInstead })
const stack = launch(['start'], { PORT: port, OPENAI_BASE_URL: model.url, CHAT_MODEL: 'mock' })
while (!(await areDocumentsReady().catch(() => false))) {
  if (stack.exitCode !== null) throw new Error('`npm start` failed. See above.')
  await sleep(500)
}
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
const page = await browser.newPage({ viewport: { width: 1280, height: 814 }, reducedMotion: 'reduce' })
await page.goto(url)
await page.getByText('0 answers streaming').waitFor()

const filming = new AbortController()
const filmed = film(page, filming.signal)
const loading = launch(load)
await page.getByLabel('Your question').pressSequentially('Why does this project use PgBouncer?', { delay: 50 })
await page.keyboard.press('Enter')
await page.getByText(/^50[01] answers streaming/).waitFor({ timeout: 60_000 })
await sleep(3000)
filming.abort()
const options = await filmed
await once(loading, 'exit')
await page.request.delete(`${url}/conversations/${new URL(page.url()).hash.slice(1)}`)
await browser.close()
stack.kill()
await once(stack, 'exit')
execFileSync(encoder, ['-lossy', '-q', '75', '-m', '6', ...options, '-o', 'page.webp'], { stdio: 'inherit' })
process.exit()
