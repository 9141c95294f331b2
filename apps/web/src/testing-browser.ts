import { existsSync, mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import axe from 'axe-core'
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { expect } from 'vitest'

const executablePath = '/usr/bin/chromium' // Debian's
const pictures = fileURLToPath(new URL('../../../.data/page/', import.meta.url))

/** Without them the browser asks its maker's hosts for updates. `--no-sandbox`: tests may run as root. */
const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Why there is nothing to test with; undefined when there is. */
export const whyNoBrowser = process.env.SLUICE_FULL
  ? existsSync(executablePath)
    ? undefined
    : 'no browser: apt-get install chromium'
  : 'a real browser: npm test -- --full'

export const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 }

/** A browser whose pages tell what went wrong in them, and what they asked of whom. */
export async function startBrowser(origin: string) {
  const browser = await chromium.launch({ executablePath, args })
  const faults: string[] = []
  const hosts = new Set<string>()
  return {
    /** What consoles have shown as errors, the policy's refusals among them, and what no script has caught. */
    faults,
    /** Every origin that was asked for anything. */
    hosts,
    open: async (path = '/', options: BrowserContextOptions = {}) => {
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options })
      const page = await context.newPage()
      page.setDefaultTimeout(120_000) // most of what is waited for takes less than 2 s
      page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
      page.on('pageerror', (error) => faults.push(error.message))
      page.on('request', (request) => hosts.add(new URL(request.url()).origin))
      await page.goto(`${origin}${path}`)
      return page
    },
    close: () => browser.close(),
  }
}

/** Throws with what axe finds, and where. Its script comes in beside the page's policy, as an extension's would. */
export async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(axe.source)
  const found: { id: string; nodes: { target: unknown; failureSummary?: string }[] }[] = await page.evaluate(
    'axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then(({ violations }) => violations)',
  )
  expect(found.map(({ id, nodes }) => `${id}: ${JSON.stringify(nodes.map(({ target }) => target))}`)).toEqual([])
}

/** For a person to look at: `.data/page/NAME.png`. */
export async function takePicture(page: Page, name: string): Promise<void> {
  mkdirSync(pictures, { recursive: true })
  await page.screenshot({ path: `${pictures}${name}.png` })
}
