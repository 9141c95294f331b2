import { LlmError } from '@repo/llm'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'
import { createPages } from './testing-page.ts'

// What users do with a conversation. Nothing of it may end in 409, or be ignored.

const model = createScriptedModel()
const { app, alice, listen, close } = await testApp({ llm: model.llm, environment: { RETRIEVAL: 'off' } })
const api = `${await listen()}/chat`
const openPage = createPages(api, alice)
afterAll(close)

type Stored = { id: string; role: string; content: string; status: string }
const read = async (id: string): Promise<Stored[]> =>
  (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages
const show = (messages: Stored[]) => messages.map(({ role, content }) => `${role}: ${content}`)

async function answer(text: string) {
  const next = await model.takeAnswer()
  next.say(text)
  next.end()
  return next
}

/** Opens a page with two answered questions. */
async function openConversation() {
  const page = openPage()
  const { id } = await page.ready()
  for (const n of [1, 2]) {
    void page.chat().sendMessage({ text: `Question ${n}?` })
    await answer(`Answer ${n}.`)
    await page.settled()
  }
  const [question1, answer1, question2, answer2] = page.chat().messages.map((message) => message.id)
  return { page, id, ids: { question1, answer1, question2, answer2 } }
}
type Conversation = Awaited<ReturnType<typeof openConversation>>

/** Begins a third answer, and leaves it running. */
async function begin({ page }: Conversation) {
  void page.chat().sendMessage({ text: 'Question 3?' })
  const running = await model.takeAnswer()
  running.say('Answ')
  await expect.poll(() => page.lines().at(-1)).toBe('assistant: Answ')
  return running
}

const one = ['user: Question 1?', 'assistant: Answer 1.']
const two = [...one, 'user: Question 2?', 'assistant: Answer 2.']
const next = 'assistant: New.'

/** The action, what it is called with, and the messages after its answer. */
const actions: [string, (conversation: Conversation) => Promise<void>, string[]][] = [
  [
    'regenerate() of the last answer',
    async ({ page }) => page.chat().regenerate(),
    [...one, 'user: Question 2?', next],
  ],
  [
    'regenerate() of the last answer by its id',
    async ({ page, ids }) => page.chat().regenerate({ messageId: ids.answer2 ?? '' }),
    [...one, 'user: Question 2?', next],
  ],
  [
    'regenerate() of an earlier answer',
    async ({ page, ids }) => page.chat().regenerate({ messageId: ids.answer1 ?? '' }),
    ['user: Question 1?', next],
  ],
  [
    'regenerate() from a question',
    async ({ page, ids }) => page.chat().regenerate({ messageId: ids.question1 ?? '' }),
    ['user: Question 1?', next],
  ],
  [
    'sendMessage() that edits the last question',
    async ({ page, ids }) => page.chat().sendMessage({ text: 'Edited?', messageId: ids.question2 ?? '' }),
    [...one, 'user: Edited?', next],
  ],
  [
    'sendMessage() that edits an earlier question',
    async ({ page, ids }) => page.chat().sendMessage({ text: 'Edited?', messageId: ids.question1 ?? '' }),
    ['user: Edited?', next],
  ],
]
const ask = async ({ page }: Conversation) => page.chat().sendMessage({ text: 'Again?' })

/** Checks the page and the stored messages after the next answer. */
async function expectAnswer({ page, id }: Pick<Conversation, 'page' | 'id'>, expected: string[]) {
  await answer('New.')
  await expect.poll(page.lines).toEqual(expected)
  await page.settled()
  expect(page.chat().error).toBeUndefined()
  const stored = await read(id)
  expect(show(stored)).toEqual(expected)
  expect(stored.map((message) => message.id)).toEqual(page.chat().messages.map((message) => message.id))
}

describe('after an answer', () => {
  it.each(actions)('%s', async (_, act, expected) => {
    const conversation = await openConversation()
    void act(conversation)
    await expectAnswer(conversation, expected)
  })
})

describe('while an answer is streaming, which is stopped first', () => {
  const [[name, regenerate] = ['', () => Promise.reject()], ...others] = actions
  const last: typeof actions = [[name, regenerate, [...two, 'user: Question 3?', next]]]
  it.each([...last, ...others])('%s', async (_, act, expected) => {
    const conversation = await openConversation()
    const running = await begin(conversation)
    void act(conversation)
    await expect.poll(() => running.request.signal.aborted).toBe(true)
    await answer('New.')
    // The hook itself still shows the end of the first stream, unless the page calls `stop()`.
    await expect.poll(async () => show(await read(conversation.id))).toEqual(expected)
    await conversation.page.settled()
    expect(conversation.page.chat().error).toBeUndefined()
  })

  it.each([...last, ...others])('%s, after stop()', async (_, act, expected) => {
    const conversation = await openConversation()
    const running = await begin(conversation)
    await conversation.page.chat().stop()
    void act(conversation)
    await expect.poll(() => running.request.signal.aborted).toBe(true)
    await expectAnswer(conversation, expected)
  })

  it('sendMessage() after stop()', async () => {
    const conversation = await openConversation()
    const running = await begin(conversation)
    await conversation.page.chat().stop()
    void ask(conversation)
    await expect.poll(() => running.request.signal.aborted).toBe(true)
    await expectAnswer(conversation, [...two, 'user: Question 3?', 'assistant: Answ', 'user: Again?', next])
    expect((await read(conversation.id)).at(3 + 2)).toMatchObject({ status: 'stopped' })
  })

  it('sendMessage() after stop() before the first word', async () => {
    const conversation = await openConversation()
    void conversation.page.chat().sendMessage({ text: 'Question 3?' })
    const running = await model.takeAnswer()
    await conversation.page.chat().stop()
    const count = conversation.page.chat().messages.length
    void ask(conversation)
    await expect.poll(() => running.request.signal.aborted).toBe(true)
    await answer('New.')
    await expect.poll(() => conversation.page.lines().at(-1)).toBe(next)
    await conversation.page.settled()
    expect(conversation.page.chat().error).toBeUndefined()
    expect(conversation.page.chat().messages).toHaveLength(count + 2)
    expect(show(await read(conversation.id)).slice(-4)).toEqual([
      ...['user: Question 3?', 'assistant: ', 'user: Again?', next],
    ])
  })
})

describe('two pages', () => {
  it('that edit the same question at once leave one conversation, in which one edit has an answer', async () => {
    const { page, id, ids } = await openConversation()
    const { messages } = page.chat()
    const other = openPage({ id, messages })
    await other.ready()
    for (const [index, { chat }] of [page, other].entries())
      void chat().sendMessage({ text: `Edit ${index}?`, messageId: ids.question1 ?? '' })
    const isDone = ({ chat }: typeof page) => ['ready', 'error'].includes(chat().status)
    await expect
      .poll(
        async () => {
          for (const call of model.answers.splice(0)) {
            call.say(`To ${call.request.question}`)
            call.end()
          }
          return (await read(id)).at(-1)?.status === 'complete' && isDone(page) && isDone(other)
        },
        { timeout: 10_000 },
      )
      .toBe(true)
    const stored = show(await read(id))
    expect(stored).toHaveLength(2)
    expect(stored[1]).toBe(`assistant: To ${stored[0]?.slice('user: '.length)}`)
    expect([page.chat().error, other.chat().error]).toEqual([undefined, undefined])
  })

  it('that ask at once: the one that has not seen the running answer gets 409, and nothing is lost', async () => {
    const conversation = await openConversation()
    const other = openPage({ id: conversation.id, messages: conversation.page.chat().messages })
    await other.ready()
    const running = await begin(conversation)
    await other.chat().sendMessage({ text: 'Me too?' })
    await other.settled('error')
    expect(other.chat().error?.message).toContain('is still being answered')
    running.say('er 3.')
    running.end()
    await conversation.page.settled()
    expect(show(await read(conversation.id))).toEqual([...two, 'user: Question 3?', 'assistant: Answer 3.'])
  })
})

it('regenerate() after a failure, before and after the first word', async () => {
  const page = openPage()
  const { id } = await page.ready()
  void page.chat().sendMessage({ text: 'Question 1?' })
  const failing = await model.takeAnswer()
  failing.fail(new LlmError('model_failed', 'the model aborted its answer'))
  await page.settled('error')
  void page.chat().regenerate()
  const again = await model.takeAnswer()
  again.say('Answ')
  await expect.poll(page.lines).toEqual(['user: Question 1?', 'assistant: Answ'])
  again.fail(new LlmError('model_failed', 'the model aborted its answer'))
  await page.settled('error')
  void page.chat().regenerate()
  await expectAnswer({ page, id }, ['user: Question 1?', next])
})
