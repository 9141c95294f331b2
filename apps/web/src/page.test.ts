import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createSpokenModel, post, readDelta, streamParts, testApp } from '@repo/api/testing'
import { startProgram, until } from '@repo/api/testing-processes'
import { makePdf } from '@repo/worker/testing-files'
import type { Page } from 'playwright-core'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { expectAccessible, phone, startBrowser, takePicture, whyNoBrowser } from './testing-browser.ts'

// The built page in Debian's Chromium, on the real API, database and pooler; the test speaks the model's words.

const text = 'Visitors ring twice. The swimming pool is open from nine to five. Towels are by the door.'

async function openAll() {
  const build = promisify(execFile)('npm', ['run', 'build'], { cwd: fileURLToPath(new URL('..', import.meta.url)) })
  const { stdout, stderr } = await build
  const model = createSpokenModel()
  const environment = { AUTH: 'off', PGBOUNCER_ADMIN_URL: process.env.PGBOUNCER_ADMIN_URL ?? '' }
  const { app, test, listen, close } = await testApp({ llm: model.llm, environment })
  const worker = startProgram('../../worker/src/worker.ts', { DATABASE_URL: test.databaseUrl })
  const url = await listen()
  const browser = await startBrowser(url)
  await post(`${url}/documents`, {}, { title: 'The pool', text })
  await untilReady(url, 'The pool')
  const built = `${stdout}${stderr}`.match(/first load: .*/)?.[0] ?? ''
  const closeAll = async () => {
    worker.child.kill()
    await worker.ended // its connections would be in the way of who drops the database
    await browser.close()
    await close()
  }
  return { app, url, model, browser, built, close: closeAll }
}

/** A worker takes documents in. */
async function untilReady(url: string, title: string) {
  const readStatus = async () => {
    const { items }: { items: { title: string; status: string }[] } = await (await fetch(`${url}/documents`)).json()
    return items.find((document) => document.title === title)?.status
  }
  await until(async () => (await readStatus()) === 'ready')
}

const opened = whyNoBrowser ? undefined : await openAll()
afterAll(() => opened?.close())

const given = () => {
  if (!opened) throw new Error(whyNoBrowser)
  return opened
}

/** Asks by the keyboard alone, and gives the model's turn. */
async function ask(page: Page, question: string) {
  await page.getByLabel('Your question').fill(question)
  await page.keyboard.press('Enter')
  return given().model.takeAnswer()
}

const answerOf = (page: Page) => page.getByRole('article', { name: 'Answer' }).last()
const textOf = (page: Page) => expect.poll(() => answerOf(page).textContent())

beforeEach((context) => context.skip(whyNoBrowser !== undefined, whyNoBrowser))

describe('the page', () => {
  it('is small: the first load is under 200 kB, compressed', async ({ annotate }) => {
    const { built } = given()
    expect(Number(/[\d.]+/.exec(built)?.[0])).toBeLessThan(200)
    await annotate(`the page’s ${built}`)
  })

  it('shows an answer as it comes, and a citation opens its passage at its place', async () => {
    const page = await given().browser.open()
    const answer = await ask(page, 'When does the swimming pool open?')
    answer.say('At **nine**')
    await textOf(page).toContain('At nine')
    answer.say(', says the notice [1]. Not [7].')
    await textOf(page).toMatch(/At nine, says the notice.*Not \[7\]\./s)
    answer.end()
    await page.getByRole('button', { name: 'Source 1: The pool' }).press('Enter')
    const dialog = page.getByRole('dialog', { name: 'The pool' })
    await expect.poll(() => dialog.locator('mark').textContent()).toContain('open from nine to five')
    await takePicture(page, 'passage')
    await expectAccessible(page)
    await page.keyboard.press('Escape')
    expect(await dialog.count()).toBe(0)
    expect(await page.evaluate('document.activeElement.className')).toBe('citation') // the reader is where they were
    await page.close()
  })

  it('stops the model by Escape, and keeps what there is', async () => {
    const page = await given().browser.open()
    const answer = await ask(page, 'Go on?')
    answer.say('On and on')
    await textOf(page).toContain('On and on')
    await page.keyboard.press('Escape')
    await textOf(page).toBe('On and onStopped.') // two paragraphs
    expect(answer.request.signal.aborted).toBe(true)
    await page.close()
  })

  it('goes on with an answer after a reload in its middle', async () => {
    const page = await given().browser.open()
    const answer = await ask(page, 'And then?')
    answer.say('First this')
    await textOf(page).toContain('First this')
    await page.reload()
    await textOf(page).toContain('First this')
    answer.say(', then that.')
    await textOf(page).toContain('First this, then that.')
    answer.end()
    await expect.poll(() => page.getByRole('button', { name: 'Ask' }).count()).toBe(1)
    await page.reload()
    await textOf(page).toBe('First this, then that.')
    await page.close()
  })

  it('keeps several conversations, and an answer goes on while another is read', async () => {
    const page = await given().browser.open()
    const first = await ask(page, 'The first of two?')
    first.say('One')
    await textOf(page).toContain('One')
    await page.getByRole('button', { name: 'New' }).click()
    const second = await ask(page, 'The second of two?')
    second.say('Two')
    await textOf(page).toContain('Two')
    first.say(' is done.')
    first.end()
    await page.getByRole('link', { name: 'The first of two?' }).click()
    await textOf(page).toBe('One is done.')
    await page.goBack()
    await textOf(page).toContain('Two')
    second.end()
    await page.getByRole('button', { name: 'Delete the conversation The first of two?' }).click()
    await expect.poll(() => page.getByRole('link', { name: 'The first of two?' }).count()).toBe(0)
    await page.close()
  })

  it('says what to do when an answer fails, and tries again', async () => {
    const page = await given().browser.open()
    const answer = await ask(page, 'Does it fail?')
    answer.say('Hm')
    answer.fail(new Error('broken'))
    await page.getByRole('alert').waitFor()
    await page.getByRole('button', { name: 'Try again' }).click()
    const again = await given().model.takeAnswer()
    again.say('Not any more.')
    again.end()
    await textOf(page).toBe('Not any more.')
    await page.close()
  })

  it('runs nothing and asks for nothing that is in a model’s text', async () => {
    const page = await given().browser.open()
    const answer = await ask(page, 'Evil?')
    answer.say('<img src="https://a.example/1" onerror="document.title=\'x\'"> ![a cat](https://a.example/2) ')
    answer.say('[here](javascript:document.title=1) <script>document.title=2</script> and [there](https://b.example)')
    answer.end()
    await textOf(page).toContain('and there')
    expect(await page.locator('.answer img, .answer script, .answer [href^=javascript]').count()).toBe(0)
    expect(await page.title()).toBe('Sluice')
    expect(await page.getByRole('link', { name: 'there' }).getAttribute('rel')).toBe('noopener noreferrer')
    await page.close()
  })

  it('asks for nothing that a document names, neither in an answer that quotes it nor where the document is open', async () => {
    const { browser, url } = given()
    const text =
      'The bittern booms. ![x](https://a.example/?q=secret) <img src="https://a.example/2">\n\n[x]: https://a.example/3'
    await post(`${url}/documents`, {}, { title: 'Bitterns', text })
    await untilReady(url, 'Bitterns')
    const page = await browser.open()
    const answer = await ask(page, 'What does the bittern do?')
    answer.say(`${text} ![x][x] [1]`)
    answer.end()
    await page.getByRole('button', { name: 'Source 1: Bitterns' }).click()
    const dialog = page.getByRole('dialog', { name: 'Bitterns' })
    await expect.poll(() => dialog.locator('mark').textContent()).toContain('<img src="https://a.example/2">')
    expect(await page.locator('img').count()).toBe(0)
    expect([...browser.hosts]).toHaveLength(1)
    await page.close()
  })

  it('takes a document that is dropped on it, and one that is chosen; both are asked about', async () => {
    const page = await given().browser.open()
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer()
      dataTransfer.items.add(new File(['The heron eats at noon, by the old mill.'], 'Herons.txt'))
      dispatchEvent(new DragEvent('drop', { dataTransfer, cancelable: true }))
    })
    await page.getByText('Herons').waitFor()
    const file = {
      name: 'Egrets.md',
      mimeType: 'text/markdown',
      buffer: Buffer.from('# Egrets\n\nThe egret sleeps at noon.'),
    }
    await page.getByLabel('Add documents').setInputFiles(file)
    await page.getByText('Egrets').waitFor()
    await untilReady(given().url, 'Herons')
    const answer = await ask(page, 'When does the heron eat?')
    answer.say('At noon [1].')
    answer.end()
    await page.getByRole('button', { name: 'Source 1: Herons' }).waitFor()
    await page.getByRole('button', { name: 'Delete the document Egrets' }).click()
    await expect.poll(() => page.getByText('Egrets').count()).toBe(0)
    await page.close()
  })

  it('takes a PDF, and a citation opens what is written there', async () => {
    const page = await given().browser.open()
    const buffer = makePdf(['Birds of the mill', 'The stork arrives in April.'])
    await page.getByLabel('Add documents').setInputFiles({ name: 'Storks.pdf', mimeType: 'application/pdf', buffer })
    await page.getByText('Storks').waitFor()
    await untilReady(given().url, 'Storks')
    const answer = await ask(page, 'When does the stork arrive?')
    answer.say('In April [1].')
    answer.end()
    await page.getByRole('button', { name: 'Source 1: Storks' }).press('Enter')
    const dialog = page.getByRole('dialog', { name: 'Storks' })
    await expect.poll(() => dialog.locator('mark').textContent()).toContain('The stork arrives in April.')
    await page.close()
  })

  it('shows the load: as many streams as there are, and hardly a connection to Postgres', async () => {
    const { url, model, browser } = given()
    const page = await browser.open()
    const count = 150
    const asked = Array.from({ length: count }, () => post(`${url}/chat`, {}, { message: 'Go on?' }))
    const answers = await Promise.all(asked.map(() => model.takeAnswer()))
    for (const answer of answers) answer.say('and on ')
    for (const response of asked) await readDelta(streamParts(await response))
    const live = page.getByRole('region', { name: 'The live picture' })
    await expect.poll(() => live.getByRole('heading').textContent()).toMatch(/^150 answers streaming, [0-3] database/)
    const [streams, clients, servers] = (await live.locator('output').allInnerTexts()).map(Number)
    expect(streams).toBe(count)
    expect(clients).toBeLessThanOrEqual(20)
    expect(servers).toBeLessThanOrEqual(3)
    expect(await live.locator('.strand.streams').count()).toBe(64)
    expect(await live.getByRole('img').getAttribute('aria-label')).toContain(
      '150 answers stream through 1 API processes',
    )
    for (const answer of answers) answer.end()
    await expect.poll(() => live.getByRole('heading').textContent()).toContain('0 answers streaming')
    await page.close()
  })

  it('asks for a key where the API wants one, and keeps it in memory alone', async () => {
    const { app, alice, listen, close } = await testApp()
    const browser = await startBrowser(await listen())
    const page = await browser.open()
    await page.getByLabel('Your API key').fill('sl_wrong')
    await page.keyboard.press('Enter')
    await page.getByRole('alert').waitFor()
    await expectAccessible(page)
    await page.getByLabel('Your API key').fill(alice.authorization.slice('Bearer '.length))
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: /answers streaming/ }).waitFor()
    const kept = 'JSON.stringify([localStorage, sessionStorage, document.cookie, history.state, location.href])'
    expect(await page.evaluate(kept)).not.toContain('sl_')
    await page.reload()
    await page.getByLabel('Your API key').waitFor()
    await browser.close()
    await close()
    expect(app.server.listening).toBe(false)
  })

  it.each(['light', 'dark'] as const)('has nothing that axe finds, on a desk and a phone, %s', async (colorScheme) => {
    const { browser } = given()
    const page = await browser.open('/', { colorScheme })
    await takePicture(page, `${colorScheme}-new`)
    const answer = await ask(page, 'When does the swimming pool open, and who may come?')
    answer.say('The pool is open from **nine to five** [1].\n\n- Visitors ring twice [1]\n- Towels are by the door\n\n')
    answer.say('| day | hours |\n| --- | --- |\n| Monday | 9 to 5 |\n\n```sh\ncurl localhost:3000\n```\n\nAnd')
    await textOf(page).toContain('And')
    await page.waitForTimeout(1500) // a few samples for the picture
    await takePicture(page, colorScheme)
    await expectAccessible(page)
    answer.end()
    await page.setViewportSize(phone.viewport)
    for (const view of ['Chat', 'Library', 'Live']) {
      await page.getByRole('button', { name: view, exact: true }).click()
      await takePicture(page, `${colorScheme}-phone-${view.toLowerCase()}`)
      await expectAccessible(page)
    }
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(phone.viewport.width)
    await page.close()
  })

  it('has asked its own server alone, and its policy had nothing to refuse', async () => {
    const { browser, url } = given()
    expect([...browser.hosts]).toEqual([url])
    expect(browser.faults).toEqual([])
  })
})
