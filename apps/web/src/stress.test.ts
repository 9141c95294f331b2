import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { post } from '@repo/testing/ui-stream'
import type { Page } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { phone, takeScreenshot } from './testing-browser.ts'
import { answerOf, openPage, textOf } from './testing-page.ts'

// What strains the page: long and unusual answers, many conversations, several tabs, a lost connection, a phone's keyboard.

const { getOpened, ask } = await openPage()

async function converse(page: Page, question: string, ...texts: string[]) {
  const answer = await ask(page, question)
  for (const text of texts) answer.say(text)
  answer.end()
  await untilIdle(page)
}

const untilIdle = (page: Page) => page.getByRole('button', { name: 'Ask', exact: true }).waitFor()
/** Records the tasks that block the page for longer than 50 ms. */
const watchTasks = (page: Page) =>
  page.evaluate(() => {
    Object.assign(window, { tasks: [] })
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) Object(window).tasks.push(duration)
    }).observe({ entryTypes: ['longtask'] })
  })

const paragraph = 'A sentence with **bold** words and `code`.\n\n- item\n- item\n\n```js\nlet a = 1\n```\n\n'

describe('an answer', () => {
  it.for([
    ['1 MB', 1000, paragraph.repeat(11).slice(0, 990)],
    ['10,000 deltas', 10_000, ' word'],
  ] as const)('of %s appears completely', async ([name, count, delta], { annotate }) => {
    const page = await getOpened().browser.open()
    await watchTasks(page)
    const started = performance.now()
    const answer = await ask(page, `A long answer of ${name}?`)
    for (let n = 0; n < count; n += 1) {
      answer.say(delta)
      if (n % (count / 100) === 0) await new Promise((resolve) => setTimeout(resolve, 50))
    }
    answer.say('\n\nThe end.')
    answer.end()
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    await untilIdle(page)
    await expect
      .poll(() => page.evaluate('document.querySelector(".answer").textContent.includes("The end.")'))
      .toBe(true)
    const tasks: number[] = await page.evaluate('tasks')
    const sum = tasks.reduce((all, ms) => all + ms, 0)
    const total = ((performance.now() - started) / 1000).toFixed(1)
    await annotate(
      `${name}: sent in ${seconds} s, shown after ${total} s; longest task ${Math.max(0, ...tasks)} ms, sum of ${tasks.length} long tasks ${sum} ms`,
    )
    await takeScreenshot(page, `stress-${count}`)
    await page.close()
  })

  it('of right-to-left text, long lines and wide tables is readable on a phone', async () => {
    const page = await getOpened().browser.open('/', phone)
    const code = `\`\`\`js\nconst line = "${'long '.repeat(100)}"\n\`\`\`\n\n${'x'.repeat(500)}\n\n`
    const table = `| ${'column | '.repeat(12)}\n|${' --- |'.repeat(12)}\n| ${'some text | '.repeat(12)}\n`
    const texts = [
      'يفتح المسبح **في التاسعة** صباحًا [1].\n\n- الزوار يقرعون مرتين\n\nEnglish text follows.\n\n',
      code,
      table,
    ]
    await converse(page, 'متى يفتح المسبح؟', ...texts)
    await takeScreenshot(page, 'stress-table')
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(phone.viewport.width)
    const styleOf = (selector: string) =>
      page
        .locator(selector)
        .first()
        .evaluate((node) => {
          const { direction, unicodeBidi } = getComputedStyle(node)
          return `${direction} ${unicodeBidi}`
        })
    expect(await styleOf('.question')).toContain('rtl')
    expect(await styleOf('.answer > div')).toContain('rtl')
    expect(await styleOf('.answer li')).toBe('rtl plaintext')
    expect(await styleOf('.answer pre')).toContain('ltr')
    // Each word of a table is on one line, and the table scrolls.
    const cell = await page.locator('.answer th').first().boundingBox()
    expect(cell?.height).toBeLessThan(60)
    expect(await page.locator('.answer table').evaluate((node) => node.scrollWidth > node.clientWidth)).toBe(true)
    await page.getByRole('region', { name: 'Messages' }).evaluate((node) => node.scrollTo(0, 0))
    await takeScreenshot(page, 'stress-rtl')
    await page.close()
  })
})

it('lists 500 conversations page by page, and back and forward follow', async () => {
  const { url, model, browser } = getOpened()
  const count = 500
  const askAll = async () => {
    for (let n = 0; n < count; n += 100) {
      const asked = Array.from({ length: 100 }, (_, at) => post(`${url}/chat`, {}, { message: `Question ${n + at}` }))
      for (const _ of asked) (await model.takeAnswer()).end()
      for (const response of asked) await (await response).text()
    }
  }
  await askAll()
  const page = await browser.open()
  const links = page.getByRole('link', { name: /^Question / })
  await expect.poll(() => links.count()).toBe(50)
  const more = page.getByRole('button', { name: 'Show more' })
  for (let shown = 50; shown < count; shown = Math.min(count, shown + 100)) {
    await more.click()
    await expect.poll(() => links.count()).toBe(Math.min(count, shown + 100))
  }
  expect(new Set(await links.allTextContents()).size).toBe(count)
  for (const name of ['Question 3', 'Question 4']) await page.getByRole('link', { name, exact: true }).click()
  const questionOf = () => page.getByRole('article', { name: 'You asked' }).textContent()
  await expect.poll(questionOf).toBe('Question 4')
  await page.goBack()
  await expect.poll(questionOf).toBe('Question 3')
  await page.goForward()
  await expect.poll(questionOf).toBe('Question 4')
  await takeScreenshot(page, 'stress-list')
  await page.close()
})

it('shows in one tab what was asked in another, and both can go on', async () => {
  const { browser } = getOpened()
  const first = await browser.open()
  await converse(first, 'The first question of two tabs?', 'One.')
  const second = await browser.open(`/${new URL(first.url()).hash}`)
  await textOf(second).toContain('One.')
  const running = await ask(first, 'The second question?')
  running.say('Two')
  await textOf(first).toContain('Two')
  await second.evaluate(() => document.dispatchEvent(new Event('visibilitychange'))) // the user returns to this tab
  await textOf(second).toContain('Two')
  running.say(' is done.')
  running.end()
  await textOf(second).toBe('Two is done.')
  await converse(second, 'The third question?', 'Three.')
  await first.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
  await textOf(first).toBe('Three.')
  const questions = await first.getByRole('article', { name: 'You asked' }).allTextContents()
  expect(questions).toEqual(['The first question of two tabs?', 'The second question?', 'The third question?'])
  for (const page of [first, second]) await page.close()
})

it.each(['while it runs', 'after it has ended'])(
  'shows the rest of an answer %s when the connection is back',
  async (when) => {
    const { browser, url } = getOpened()
    const network = await openTcpProxy(url)
    const page = await browser.open()
    await page.goto(`http://${network.host}/`)
    const answer = await ask(page, `Offline ${when}?`)
    answer.say('Before')
    await textOf(page).toContain('Before')
    await network.shut()
    await page.getByText('The connection was lost.').waitFor()
    await takeScreenshot(page, 'stress-offline')
    answer.say(', during')
    if (when === 'after it has ended') answer.end()
    await network.open()
    await textOf(page).toContain('Before, during')
    if (when === 'while it runs') {
      answer.say(', after')
      answer.end()
      await textOf(page).toContain('Before, during, after')
    }
    await untilIdle(page)
    await expect.poll(() => page.getByRole('alert').count()).toBe(0)
    expect(await answerOf(page).textContent()).toBe(
      when === 'while it runs' ? 'Before, during, after' : 'Before, during',
    )
    await page.close()
    await network.shut()
  },
)

it.each(['resizes the page', 'covers the page'])(
  'keeps the question visible when a phone’s keyboard %s',
  async (what) => {
    const page = await getOpened().browser.open('/', phone)
    await converse(page, 'Long?', 'Line.\n\n'.repeat(60))
    if (what === 'resizes the page') await page.setViewportSize({ width: 390, height: 400 })
    else
      await page.evaluate(() => {
        Object.defineProperty(window.visualViewport, 'height', { value: 400 })
        window.visualViewport?.dispatchEvent(new Event('resize'))
      })
    const readBottom = async () => {
      const box = await page.getByLabel('Your question').boundingBox()
      return (box?.y ?? 0) + (box?.height ?? 0)
    }
    await expect.poll(readBottom).toBeLessThan(400)
    expect(await page.getAttribute('meta[name=viewport]', 'content')).toContain('interactive-widget=resizes-content')
    await takeScreenshot(page, 'stress-keyboard')
    await page.close()
  },
)

it('caused no errors in the page, and contacted no other host', () => {
  const { browser } = getOpened()
  const own = [...browser.hosts].filter((host) => !host.startsWith('http://127.0.0.1:'))
  expect(own).toEqual([])
  expect(browser.errors.filter((error) => !/ERR_|Failed to load resource/.test(error))).toEqual([])
})
