import { existsSync, mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import axe from 'axe-core'
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { expect } from 'vitest'

const executablePath = '/usr/bin/chromium' // of Debian's package
const screenshots = fileURLToPath(new URL('../../../.data/page/', import.meta.url))

/** Prevents requests to the vendor's update servers. `--no-sandbox`: tests may run as root. */
const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** The reason why no browser is available, or undefined. */
export const whyNoBrowser = process.env.SLUICE_FULL
  ? existsSync(executablePath)
    ? undefined
    : 'needs a browser: apt-get install chromium'
  : 'needs npm test -- --full'

export const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 }

/** Starts a browser that records the errors of its pages and the hosts they contact. */
export async function startBrowser(origin: string) {
  const browser = await chromium.launch({ executablePath, args })
  const errors: string[] = []
  const hosts = new Set<string>()
  return {
    /** Console errors, including policy violations, and uncaught exceptions. */
    errors,
    /** All origins that received a request. */
    hosts,
    open: async (path = '/', options: BrowserContextOptions = {}) => {
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options })
      const page = await context.newPage()
      page.setDefaultTimeout(120_000) // most conditions hold within 2 s
      page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
      page.on('pageerror', (error) => errors.push(error.message))
      page.on('request', (request) => hosts.add(new URL(request.url()).origin))
      await page.goto(`${origin}${path}`)
      return page
    },
    close: () => browser.close(),
  }
}

/** Throws the violations that axe finds. Its script bypasses the page's policy, like a browser extension. */
export async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(axe.source)
  const found: { id: string; nodes: { target: unknown; failureSummary?: string }[] }[] = await page.evaluate(
    'axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then(({ violations }) => violations)',
  )
  expect(found.map(({ id, nodes }) => `${id}: ${JSON.stringify(nodes.map(({ target }) => target))}`)).toEqual([])
}

/** Saves a screenshot as `.data/page/NAME.png` for manual review. */
export async function takeScreenshot(page: Page, name: string): Promise<void> {
  mkdirSync(screenshots, { recursive: true })
  await page.screenshot({ path: `${screenshots}${name}.png` })
}
