import { once } from 'node:events'
import { createServer, request as forward } from 'node:http'
import { connect, createKey, createStore } from '@repo/db'
import { makePdf } from '@repo/testing/files'
import { startApi } from '@repo/testing/processes'
import { post, readDelta, streamParts } from '@repo/testing/ui-stream'
import { describe, expect, it, onTestFinished } from 'vitest'
import { expectAccessible, phone, startBrowser, takeScreenshot } from './testing-browser.ts'
import { openPage, textOf, untilReady } from './testing-page.ts'

// Tests the built page in Debian's Chromium with the real API, database and pooler, and a scripted model.

const { getOpened, ask } = await openPage()

/** Starts a reverse proxy that serves the page below a path, as nginx does with `location /team/chat/`. */
async function startReverseProxy(target: string): Promise<string> {
  const prefix = '/team/chat/'
  const server = createServer((request, response) => {
    if (!request.url?.startsWith(prefix)) return response.writeHead(404).end()
    const { method = '', headers } = request
    const onward = forward(`${target}/${request.url.slice(prefix.length)}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    request.pipe(onward.on('error', () => response.destroy()))
    response.on('close', () => onward.destroy())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${Object(server.address()).port}${prefix}`
}

describe('the page', () => {
  it('works below a path of another site, with its API and the API reference', async () => {
    const url = await startReverseProxy(getOpened().url)
    const browser = await startBrowser(url)
    const page = await browser.open('')
    const answer = await ask(page, 'When does the swimming pool open?')
    answer.say('At nine')
    await textOf(page).toContain('At nine')
    await page.reload()
    answer.say(' sharp.')
    await textOf(page).toContain('At nine sharp.')
    answer.end()
    await page.getByRole('link', { name: 'API' }).click()
    await expect.poll(() => page.getByText('Ask a question').count()).toBeGreaterThan(0)
    expect(page.url()).toMatch(`${url}docs`)
    expect(browser.errors).toEqual([])
    await browser.close()
  })

  it('needs less than 200 kB, compressed, for the first load', async ({ annotate }) => {
    const { built } = getOpened()
    expect(Number(/[\d.]+/.exec(built)?.[0])).toBeLessThan(200)
    await annotate(`the page’s ${built}`)
  })

  it('streams an answer, and a citation opens the document at its passage', async () => {
    const page = await getOpened().browser.open()
    const answer = await ask(page, 'When does the swimming pool open?')
    answer.say('At **nine**')
    await textOf(page).toContain('At nine')
    answer.say(', says the notice [1]. Not [7].')
    await textOf(page).toMatch(/At nine, says the notice.*Not \[7\]\./s)
    answer.end()
    await page.getByRole('button', { name: 'Source 1: The pool' }).press('Enter')
    const dialog = page.getByRole('dialog', { name: 'The pool' })
    await expect.poll(() => dialog.locator('mark').textContent()).toContain('open from nine to five')
    await takeScreenshot(page, 'passage')
    await expectAccessible(page)
    await page.keyboard.press('Escape')
    expect(await dialog.count()).toBe(0)
    expect(await page.evaluate('document.activeElement.className')).toBe('citation') // focus returns to the citation
    await page.close()
  })

  it('stops the model on Escape, and keeps the text so far', async () => {
    const page = await getOpened().browser.open()
    const answer = await ask(page, 'Go on?')
    answer.say('On and on')
    await textOf(page).toContain('On and on')
    await page.keyboard.press('Escape')
    await textOf(page).toBe('On and onStopped.') // two paragraphs
    await expect.poll(() => answer.isHungUp()).toBe(true)
    await page.close()
  })

  it('resumes a running answer after a reload', async () => {
    const page = await getOpened().browser.open()
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

  it('shows several conversations, and an answer continues while another one is open', async () => {
    const page = await getOpened().browser.open()
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

  it('shows an error when an answer fails, and can retry it', async () => {
    const page = await getOpened().browser.open()
    const answer = await ask(page, 'Does it fail?')
    answer.say('Hm')
    answer.fail('broken')
    await page.getByRole('alert').waitFor()
    await page.getByRole('button', { name: 'Try again' }).click()
    const again = await getOpened().model.takeAnswer()
    again.say('No longer.')
    again.end()
    await textOf(page).toBe('No longer.')
    await page.close()
  })

  it('runs no scripts and loads no images from a model’s text', async () => {
    const page = await getOpened().browser.open()
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

  it('loads no images from a document, neither in an answer that quotes it nor in its dialog', async () => {
    const { browser, url } = getOpened()
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

  it('uploads documents by drop and by file dialog, and answers from them', async () => {
    const page = await getOpened().browser.open()
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
    await untilReady(getOpened().url, 'Herons')
    const answer = await ask(page, 'When does the heron eat?')
    answer.say('At noon [1].')
    answer.end()
    await page.getByRole('button', { name: 'Source 1: Herons' }).waitFor()
    await page.getByRole('button', { name: 'Delete the document Egrets' }).click()
    await expect.poll(() => page.getByText('Egrets').count()).toBe(0)
    await page.close()
  })

  it('uploads a PDF, and a citation opens its text', async () => {
    const page = await getOpened().browser.open()
    const buffer = makePdf(['Birds of the mill', 'The stork arrives in April.'])
    await page.getByLabel('Add documents').setInputFiles({ name: 'Storks.pdf', mimeType: 'application/pdf', buffer })
    await page.getByText('Storks').waitFor()
    await untilReady(getOpened().url, 'Storks')
    const answer = await ask(page, 'When does the stork arrive?')
    answer.say('In April [1].')
    answer.end()
    await page.getByRole('button', { name: 'Source 1: Storks' }).press('Enter')
    const dialog = page.getByRole('dialog', { name: 'Storks' })
    await expect.poll(() => dialog.locator('mark').textContent()).toContain('The stork arrives in April.')
    await page.close()
  })

  it('shows the load: many streams and few Postgres connections', async () => {
    const { url, model, browser } = getOpened()
    const page = await browser.open()
    const count = 150
    const asked = Array.from({ length: count }, () => post(`${url}/chat`, {}, { message: 'Go on?' }))
    const answers = await Promise.all(asked.map(() => model.takeAnswer()))
    for (const answer of answers) answer.say('and on ')
    for (const response of asked) await readDelta(streamParts(await response))
    const live = page.getByRole('region', { name: 'Live view' })
    await expect.poll(() => live.getByRole('heading').textContent()).toMatch(/^150 answers streaming, [0-3] database/)
    const [streams, clients, servers] = (await live.locator('output').allInnerTexts()).map(Number)
    expect(streams).toBe(count)
    expect(clients).toBeLessThanOrEqual(20)
    expect(servers).toBeLessThanOrEqual(3)
    expect(await live.locator('.strand.streams').count()).toBe(64)
    expect(await live.getByRole('img').getAttribute('aria-label')).toContain(
      'Answers streaming: 150. API processes: 1.',
    )
    for (const answer of answers) answer.end()
    await expect.poll(() => live.getByRole('heading').textContent()).toContain('0 answers streaming')
    await page.close()
  })

  it('asks for a key if the API requires one, and keeps it in memory only', async () => {
    const { databaseUrl } = getOpened().test
    const { db, close } = connect({ url: databaseUrl, poolSize: 1 })
    const key = await createKey(createStore(db), 'alice')
    await close()
    const { url } = await startApi({ DATABASE_URL: databaseUrl, AUTH: 'required' })
    const browser = await startBrowser(url)
    const page = await browser.open()
    await page.getByLabel('Your API key').fill('sl_wrong')
    await page.keyboard.press('Enter')
    await page.getByRole('alert').waitFor()
    await expectAccessible(page)
    await page.getByLabel('Your API key').fill(key)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: /answers streaming/ }).waitFor()
    const kept = 'JSON.stringify([localStorage, sessionStorage, document.cookie, history.state, location.href])'
    expect(await page.evaluate(kept)).not.toContain('sl_')
    await page.reload()
    await page.getByLabel('Your API key').waitFor()
    await browser.close()
  })

  it.each(['light', 'dark'] as const)(
    'has no accessibility violations on desktop and phone, %s',
    async (colorScheme) => {
      const { browser } = getOpened()
      const page = await browser.open('/', { colorScheme })
      await takeScreenshot(page, `${colorScheme}-new`)
      const answer = await ask(page, 'When does the swimming pool open, and who may come?')
      answer.say(
        'The pool is open from **nine to five** [1].\n\n- Visitors ring twice [1]\n- Towels are by the door\n\n',
      )
      answer.say('| day | hours |\n| --- | --- |\n| Monday | 9 to 5 |\n\n```sh\ncurl localhost:3000\n```\n\nAnd')
      await textOf(page).toContain('And')
      await page.waitForTimeout(1500) // a few samples for the screenshot
      await takeScreenshot(page, colorScheme)
      await expectAccessible(page)
      answer.end()
      await page.setViewportSize(phone.viewport)
      for (const view of ['Chat', 'Library', 'Live']) {
        await page.getByRole('button', { name: view, exact: true }).click()
        await takeScreenshot(page, `${colorScheme}-phone-${view.toLowerCase()}`)
        await expectAccessible(page)
      }
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(phone.viewport.width)
      await page.close()
    },
  )

  it('contacted only its own server and violated no policy', async () => {
    const { browser, url } = getOpened()
    expect([...browser.hosts]).toEqual([url])
    expect(browser.errors).toEqual([])
  })
})
