import { LlmError } from '@repo/llm'
import { createScriptedModel } from '@repo/testing/scripted-model'
import type { UIMessage } from 'ai'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { testApp } from '../testing.ts'
import { createPages, type Page } from './testing-page.ts'

const model = createScriptedModel()
const { app, alice, work, listen, close } = await testApp({ llm: model.llm })
const url = await listen()
const api = `${url}/chat`
afterAll(close)

const payload = { title: 'Pool', text: 'The swimming pool is open from nine to five.' }
const pool = (await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })).json()
await work()
const openPage = createPages(api, alice)

const read = async (id: string) => (await app.inject({ url: `/conversations/${id}`, headers: alice })).json()
const isSettled = (page: Page, status = 'ready') => page.settled(status)

/** Asks a question in a new page, and returns the model's side of the call. */
async function begin(text = 'When does the pool open?') {
  const page = openPage()
  const { id, sendMessage } = await page.ready()
  void sendMessage({ text })
  return { page, id, answer: await model.takeAnswer() }
}

const stopModel = (id: string) => fetch(`${api}/${id}/stop`, { method: 'POST', headers: alice })

const question = 'user: When does the pool open?'

describe('useChat', () => {
  it('chats over two turns with its own ids, and shows text and sources as they arrive', async () => {
    const { page, id, answer } = await begin()
    expect(id).toMatch(/^[A-Za-z0-9]{16}$/)
    answer.say('At nine')
    await expect.poll(page.lines).toEqual([question, 'assistant: [1 Pool]At nine'])
    answer.say(' [1].')
    answer.end()
    await isSettled(page)
    expect(page.lines()).toEqual([question, 'assistant: [1 Pool]At nine [1].'])

    void page.chat().sendMessage({ text: 'And on Sunday?' })
    const second = await model.takeAnswer()
    expect(second.request.messages.slice(1)).toEqual([
      { role: 'user', content: 'When does the pool open?' },
      { role: 'assistant', content: 'At nine [1].' },
      { role: 'user', content: expect.stringMatching(/\n\nAnd on Sunday\?$/) },
    ])
    second.think('Hm.')
    second.say('It does not say.')
    second.end()
    await isSettled(page)
    const place = { documentId: pool.id, chunkId: expect.any(String), start: 0, end: payload.text.length }
    const source = { type: 'source-document', sourceId: '1', mediaType: 'text/plain', title: 'Pool' }
    expect(page.chat().messages.at(-1)?.parts).toEqual([
      { ...source, filename: undefined, providerMetadata: { sluice: place } },
      { type: 'reasoning', id: '1', text: 'Hm.', state: 'done' },
      { type: 'text', text: 'It does not say.', state: 'done' },
    ])
    expect(page.lines()[3]).toMatch(/^assistant: .*It does not say\.$/)
    const stored = await read(id)
    expect(stored.messages.map(({ id }: { id: string }) => id)).toEqual(page.chat().messages.map(({ id }) => id))
  })

  it('replaces an answer when it is regenerated', async () => {
    const { page, id, answer } = await begin()
    answer.say('At ten.')
    answer.end()
    await isSettled(page)
    void page.chat().regenerate()
    const again = await model.takeAnswer()
    again.say('At nine.')
    again.end()
    await expect.poll(page.lines).toEqual([question, 'assistant: [1 Pool]At nine.'])
    await isSettled(page)
    expect((await read(id)).messages).toMatchObject([{ role: 'user' }, { role: 'assistant', content: 'At nine.' }])
  })

  it('resumes after a reload, in the middle of a word', async () => {
    const { page, id, answer } = await begin()
    answer.say('At ni')
    await expect.poll(() => page.lines()[1]).toContain('At ni')
    page.close()
    const messages: UIMessage[] = (await read(id)).messages.map(
      ({ id, role, content }: { id: string; role: 'user' | 'assistant'; content: string }) => ({
        id,
        role,
        parts: [{ type: 'text', text: content }],
      }),
    )
    const reloaded = openPage({ id, messages, resume: true })
    await expect.poll(reloaded.lines).toEqual([question, 'assistant: [1 Pool]At ni'])
    answer.say('ne.')
    answer.end()
    await expect.poll(reloaded.lines).toEqual([question, 'assistant: [1 Pool]At nine.'])
    await isSettled(reloaded)
    expect(reloaded.chat().error).toBeUndefined()
  })

  it('receives the conversation, which is not part of a message', async () => {
    const onData = vi.fn()
    const page = openPage({ id: 'a-chat', onData })
    void (await page.ready()).sendMessage({ text: 'Hi' })
    const answer = await model.takeAnswer()
    answer.end()
    await isSettled(page)
    expect(onData.mock.calls).toEqual([
      [expect.objectContaining({ type: 'data-conversation', data: { id: 'a-chat' } })],
    ])
    expect(page.chat().messages.flatMap(({ parts }) => parts.map(({ type }) => type))).not.toContain(
      'data-conversation',
    )
  })

  it('resumes nothing when no answer is running', async () => {
    const page = openPage({ id: 'nothing-runs', resume: true })
    await page.ready()
    await isSettled(page)
    await page.chat().resumeStream()
    expect(page.chat()).toMatchObject({ status: 'ready', messages: [], error: undefined })
  })

  it('stop() ends its own request, and POST /chat/:id/stop ends the model call', async () => {
    const { page, id, answer } = await begin()
    answer.say('At nine')
    await expect.poll(() => page.lines()[1]).toContain('At nine')
    await page.chat().stop()
    await isSettled(page)
    answer.say(', as ever')
    await expect
      .poll(async () => (await read(id)).messages[1])
      .toMatchObject({ status: 'streaming', content: 'At nine, as ever' })
    expect(answer.request.signal.aborted).toBe(false)
    expect((await stopModel(id)).status).toBe(204)
    expect(answer.request.signal.aborted).toBe(true)
    expect((await read(id)).messages[1]).toMatchObject({ status: 'stopped', content: 'At nine, as ever' })
  })

  it('shows a stop by another page, and keeps the text so far', async () => {
    const { page, id, answer } = await begin()
    answer.say('At nine')
    await expect.poll(() => page.lines()[1]).toContain('At nine')
    await stopModel(id)
    await isSettled(page)
    expect(page.lines()).toEqual([question, 'assistant: [1 Pool]At nine'])
  })

  it('shows why an answer failed, before or after its first word, and continues', async () => {
    const failure = new LlmError('model_failed', 'the model aborted its answer')
    const { page, answer } = await begin()
    answer.say('At')
    answer.fail(failure)
    await isSettled(page, 'error')
    expect(page.chat().error?.message).toBe(failure.message)

    vi.spyOn(model.llm.chat, 'stream').mockRejectedValueOnce(failure)
    await page.chat().sendMessage({ text: 'Hello?' })
    await isSettled(page, 'error')
    expect(page.chat().error?.message).toContain(failure.message)

    void page.chat().sendMessage({ text: 'Hello??' })
    const next = await model.takeAnswer()
    next.say('Yes')
    next.end()
    await isSettled(page)
    expect(page.chat().error).toBeUndefined()
  })
})
