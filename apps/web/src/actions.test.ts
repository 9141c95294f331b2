import { startApi } from '@repo/testing/processes'
import { post } from '@repo/testing/ui-stream'
import type { Page } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { expectAccessible, phone, startBrowser, takeScreenshot } from './testing-browser.ts'
import { answerOf, openPage, untilReady } from './testing-page.ts'

// Tests what the user can do with messages and conversations, in Debian's Chromium with the real API.

const models = JSON.stringify([
  { name: 'spoken', images: false },
  { name: 'seeing', images: true },
])
const { getOpened, ask } = await openPage({ CHAT_MODELS: models })

/** Asks a question and answers it. */
async function converse(page: Page, question: string, text: string, finishReason?: string) {
  await finish(page, await ask(page, question), text, finishReason)
}

/** Answers a question that was asked in another way. */
const reply = async (page: Page, text: string) => finish(page, await getOpened().model.takeAnswer(), text)

async function finish(page: Page, answer: Awaited<ReturnType<typeof ask>>, text: string, finishReason?: string) {
  answer.say(text)
  answer.end(undefined, finishReason)
  await page.getByRole('button', { name: 'Ask', exact: true }).waitFor()
}

const listTexts = (page: Page) => page.getByRole('article').allInnerTexts()

/** Answers the page's next requests to `POST /chat` with these events, and returns the bodies of the requests. */
async function stubChat(page: Page, ...answers: object[][]) {
  const bodies: { model?: string; messages: { parts: { state?: string; approval?: object; type: string }[] }[] }[] = []
  await page.route('**/conversations/*', (route) => route.fulfill({ json: { messages: [] } })) // nothing is stored
  await page.route('**/chat', async (route) => {
    bodies.push(route.request().postDataJSON())
    const events = [{ type: 'start', messageId: 'an-answer' }, ...(answers.shift() ?? [])]
    const body = `${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}data: [DONE]\n\n`
    await route.fulfill({ contentType: 'text/event-stream', headers: { 'x-vercel-ai-ui-message-stream': 'v1' }, body })
  })
  return bodies
}

describe('messages', () => {
  it('are edited and regenerated, and replace what follows', async () => {
    const page = await getOpened().browser.open()
    await converse(page, 'When?', 'At nine.')
    await converse(page, 'Why?', 'Because.')
    await page.getByRole('button', { name: 'Edit' }).first().press('Enter')
    await page.keyboard.press('Escape')
    expect(await page.evaluate('document.activeElement.ariaLabel')).toBe('Edit')
    await page.keyboard.press('Enter')
    await expectAccessible(page)
    await page.getByLabel('Edit your question').fill('Where?')
    await page.keyboard.press('Enter')
    await reply(page, 'By the mill.')
    expect(await listTexts(page)).toEqual(['Where?', 'By the mill.'])
    await converse(page, 'Why there?', 'It is old.')
    await page.getByRole('button', { name: 'Regenerate' }).first().press('Enter')
    await reply(page, 'By the lake.')
    expect(await listTexts(page)).toEqual(['Where?', 'By the lake.'])
    await page.reload()
    await expect.poll(() => listTexts(page)).toEqual(['Where?', 'By the lake.'])
    await page.close()
  })

  it('are copied and rated, with a comment, and keep the rating after a reload', async () => {
    const page = await getOpened().browser.open('/', { permissions: ['clipboard-read', 'clipboard-write'] })
    await converse(page, 'Who?', 'The **heron**.')
    await page.getByRole('button', { name: 'Copy' }).click()
    await page.getByRole('button', { name: 'Copied' }).waitFor()
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe('The **heron**.')
    await page.getByRole('button', { name: 'Bad answer' }).click()
    await page.getByLabel('Comment on this answer').fill('It is a stork.')
    await expectAccessible(page)
    await page.keyboard.press('Enter')
    await page.getByText('Thank you.').waitFor()
    const id = new URL(page.url()).hash.slice(1)
    const { messages } = await (await fetch(`${getOpened().url}/conversations/${id}`)).json()
    expect(messages[1].feedback).toEqual({ value: -1, comment: 'It is a stork.' })
    await page.reload()
    await page.getByRole('button', { name: 'Bad answer', pressed: true }).click()
    await page.getByRole('button', { name: 'Bad answer', pressed: false }).waitFor()
    await page.close()
  })

  it.each([
    ['length', 'it reached the length limit'],
    ['content_filter', 'content filter ended it'],
  ])('that ended by %s say so, also after a reload', async (reason, note) => {
    const page = await getOpened().browser.open()
    await converse(page, 'How long?', 'So', reason)
    await answerOf(page).getByText(note).waitFor()
    await page.reload()
    await answerOf(page).getByText(note).waitFor()
    await page.close()
  })
})

describe('conversations', () => {
  it('are renamed by keyboard and found by title and text', async () => {
    const page = await getOpened().browser.open()
    await converse(page, 'What about bitterns?', 'They boom.')
    await page.getByRole('button', { name: 'New' }).click()
    await converse(page, 'What about cranes?', 'They dance.')
    await page.getByRole('button', { name: 'Rename the conversation What about cranes?' }).press('Enter')
    await page.getByLabel('Title of the conversation').fill('Dancers')
    await page.keyboard.press('Enter')
    await page.getByRole('link', { name: 'Dancers' }).waitFor()
    await page.getByLabel('Search conversations').fill('boom')
    await expect
      .poll(() => page.getByRole('navigation').getByRole('link').allInnerTexts())
      .toEqual(['What about bitterns?'])
    await page.getByLabel('Search conversations').fill('dancers')
    await expect.poll(() => page.getByRole('navigation').getByRole('link').allInnerTexts()).toEqual(['Dancers'])
    await page.getByLabel('Search conversations').fill('nightingale')
    await page.getByText('No conversation contains these words.').waitFor()
    await page.close()
  })
})

describe('the next question', () => {
  it('goes to the chosen model, with only the chosen documents', async () => {
    const { browser, url } = getOpened()
    await post(`${url}/documents`, {}, { title: 'The lake', text: 'The lake is open from six. Swimming is free.' })
    await untilReady(url, 'The lake')
    const page = await browser.open()
    await page.getByRole('checkbox', { name: 'Ask only The lake' }).press('Space')
    await page.getByText('Only 1 document').waitFor()
    await page.getByLabel('Model').selectOption('seeing')
    await expectAccessible(page)
    await converse(page, 'When may I swim in the swimming pool?', 'From six [1], [2].')
    await page.getByRole('button', { name: 'Source 1: The lake' }).waitFor()
    expect(await page.locator('.citation').count()).toBe(1)
    const id = new URL(page.url()).hash.slice(1)
    expect((await (await fetch(`${url}/conversations/${id}`)).json()).messages[1].model).toBe('seeing')
    await page.getByRole('button', { name: 'Ask all documents' }).click()
    expect(await page.getByRole('checkbox', { checked: true }).count()).toBe(0)
    await page.close()
  })

  it('has images if the model accepts them', async () => {
    const page = await getOpened().browser.open()
    const text = [{ type: 'text-start', id: '0' }, { type: 'text-delta', id: '0', delta: 'A dot.' }, { type: 'finish' }]
    const bodies = await stubChat(page, text, text)
    expect(await page.getByLabel('Add images').count()).toBe(0)
    await page.getByLabel('Model').selectOption('seeing')
    const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
    const file = { name: 'dot.png', mimeType: 'image/png', buffer: Buffer.from(pixel, 'base64') }
    await page.getByLabel('Add images').setInputFiles([file, { ...file, name: 'other.png' }])
    await page.getByRole('button', { name: 'Remove other.png' }).click()
    await expectAccessible(page)
    await page.getByLabel('Your question').fill('What is this?')
    await page.keyboard.press('Enter')
    await answerOf(page).getByText('A dot.').waitFor()
    await page.getByRole('article', { name: 'You asked' }).getByRole('img', { name: 'dot.png' }).waitFor()
    const image = { type: 'file', mediaType: 'image/png', filename: 'dot.png', url: `data:image/png;base64,${pixel}` }
    expect(bodies[0]?.messages).toMatchObject([{ parts: [image, { type: 'text', text: 'What is this?' }] }])
    expect(bodies[0]?.model).toBe('seeing')
    await page.getByRole('button', { name: 'Edit' }).press('Enter')
    await page.getByLabel('Edit your question').fill('Is it red?')
    await page.keyboard.press('Enter')
    await expect
      .poll(() => bodies[1]?.messages)
      .toMatchObject([{ parts: [image, { type: 'text', text: 'Is it red?' }] }])
    await page.close()
  })
})

describe('tool steps', () => {
  it('show input and output with the offline model, also after a reload, in both colour schemes', async () => {
    const { url } = await startApi({ DATABASE_URL: getOpened().test.databaseUrl, RETRIEVAL: 'tool' })
    const browser = await startBrowser(url)
    const page = await browser.open('/', { colorScheme: 'dark' })
    await page.getByLabel('Your question').fill('When is the swimming pool open?')
    await page.keyboard.press('Enter')
    await answerOf(page)
      .getByText(/^The swimming pool is open from nine to five/)
      .waitFor()
    const step = answerOf(page).getByRole('group').first()
    await page.getByText('search_documents done').press('Enter')
    await step.getByText('"query"').first().waitFor()
    expect(await step.textContent()).toMatch(/"query": .*"passages": .*nine to five/s)
    await page
      .getByRole('button', { name: /^Source \d+: The pool$/ })
      .first()
      .waitFor()
    await page.getByRole('button', { name: 'Ask', exact: true }).waitFor()
    await takeScreenshot(page, 'dark-tool')
    await expectAccessible(page)
    const readAnswer = () => answerOf(page).textContent()
    const shown = await readAnswer()
    await page.reload()
    await page.getByText('search_documents done').click()
    await expect.poll(readAnswer).toEqual(shown)
    await page.emulateMedia({ colorScheme: 'light' })
    await page.setViewportSize(phone.viewport)
    await takeScreenshot(page, 'light-phone-tool')
    await expectAccessible(page)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(phone.viewport.width)
    expect(browser.errors).toEqual([])
    await browser.close()
  })

  it('show an error, a tool that waits for the client, and ask for approval', async () => {
    const page = await getOpened().browser.open()
    const call = (toolCallId: string, toolName: string) => ({
      type: 'tool-input-available',
      toolCallId,
      toolName,
      input: {},
    })
    const finish = { type: 'finish', finishReason: 'tool-calls', messageMetadata: { finishReason: 'tool-calls' } }
    const bodies = await stubChat(
      page,
      [
        { type: 'start-step' },
        call('a', 'count_birds'),
        { type: 'tool-output-error', toolCallId: 'a', errorText: 'There are too many birds.' },
        call('b', 'open_gate'),
        { type: 'tool-approval-request', toolCallId: 'b', approvalId: 'the-approval' },
        { type: 'finish-step' },
        finish,
      ],
      [
        { type: 'tool-output-available', toolCallId: 'b', output: { isOpen: true } },
        { type: 'start-step' },
        call('c', 'read_location'),
        { type: 'finish-step' },
        finish,
      ],
    )
    await page.getByLabel('Your question').fill('Open the gate.')
    await page.keyboard.press('Enter')
    await page.getByText('open_gate needs your approval').waitFor()
    await takeScreenshot(page, 'approval')
    await expectAccessible(page)
    await page.getByText('count_birds failed').click()
    await page.getByText('There are too many birds.').waitFor()
    await page.getByRole('button', { name: 'Approve' }).press('Enter')
    await page.getByText('read_location waiting for the client').waitFor()
    await page.getByText('open_gate done').waitFor()
    const approval = { id: 'the-approval', approved: true }
    expect(bodies[1]?.messages).toMatchObject([
      { role: 'assistant', parts: [{}, {}, { state: 'approval-responded', approval }] },
    ])
    await page.close()
  })
})

it('contacted only its own server and violated no policy', async () => {
  const { browser, url } = getOpened()
  expect([...browser.hosts]).toEqual([url])
  expect(browser.errors).toEqual([])
})
