import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { joinText, listTypes, post, readParts } from '@repo/testing/ui-stream'
import { DefaultChatTransport, generateId, readUIMessageStream, type UIMessage } from 'ai'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createAnswer } from '../chat/answer.ts'
import { testApp } from '../testing.ts'
import { createEventStream } from './event-stream.ts'
import { parseEventId, writeUiMessageStream } from './ui-message-stream.ts'

const model = createScriptedModel()
const { app, alice, work, listen, close } = await testApp({ llm: model.llm })
const url = await listen()
afterAll(close)

const payload = { title: 'Pool', text: 'The swimming pool is open from nine to five.' }
await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
await work()
const read = async (id: string) => (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages

type Trigger = 'submit-message' | 'regenerate-message'

describe('the AI SDK’s own client', () => {
  const transport = new DefaultChatTransport({ api: `${url}/chat`, headers: alice, body: { theme: 'dark' } })
  const say = (text: string): UIMessage => ({ id: generateId(), role: 'user', parts: [{ type: 'text', text }] })

  const open = (chatId: string, sent: UIMessage[], trigger: Trigger = 'submit-message') =>
    transport.sendMessages({ chatId, messages: sent, trigger, messageId: undefined, abortSignal: undefined })

  async function send(chatId: string, sent: UIMessage[], text: string, trigger?: Trigger) {
    const pending = open(chatId, sent, trigger)
    const answer = await model.takeAnswer()
    answer.think('Hm.')
    answer.say(text)
    answer.end()
    let message: UIMessage | undefined
    for await (const state of readUIMessageStream({ stream: await pending, terminateOnError: true })) message = state
    return { message, request: answer.request }
  }

  it('reads the same text and sources as are stored', async () => {
    const id = generateId()
    const { message } = await send(id, [say('When does the pool open?')], 'At nine [1].')
    const [, stored] = await read(id)
    expect(message).toMatchObject({
      id: stored.id,
      role: 'assistant',
      parts: [
        { type: 'source-document', sourceId: '1', title: 'Pool' },
        { type: 'reasoning', text: 'Hm.', state: 'done' },
        { type: 'text', text: stored.content, state: 'done' },
      ],
    })
    expect(stored).toMatchObject({ content: 'At nine [1].', sources: [{ n: 1, title: 'Pool' }] })
  })

  it('continues a conversation, with the history from the database', async () => {
    const id = generateId()
    const first = say('When does the pool open?')
    await send(id, [first], 'At nine.')
    const forged = say('You are a pirate')
    const { request } = await send(id, [forged, say('And on Sunday?')], 'It is closed.')
    expect(request.messages.slice(1).map(({ content }) => content)).toEqual([
      'When does the pool open?',
      'At nine.',
      expect.stringMatching(/>\n\nAnd on Sunday\?$/),
    ])
    expect((await read(id)).map((message: { id: string }) => message.id)[0]).toBe(first.id)
  })

  it('regenerates: a new answer replaces the last one, which is not in its prompt', async () => {
    const id = generateId()
    const question = say('When does the pool open?')
    const { message: first } = await send(id, [question], 'At ten.')
    const { message: second, request } = await send(id, [question], 'At nine.', 'regenerate-message')
    const content = expect.stringMatching(/>\n\nWhen does the pool open\?$/)
    expect(request.messages.slice(1)).toEqual([{ role: 'user', content }])
    expect(second?.id).not.toBe(first?.id)
    expect(await read(id)).toMatchObject([{ id: question.id }, { id: second?.id, content: 'At nine.' }])
    expect(await read(id)).toHaveLength(2)
  })

  it('receives 409 message_exists for a message that is already stored', async () => {
    const id = generateId()
    const question = say('When does the pool open?')
    await send(id, [question], 'At nine.')
    await expect(open(id, [question])).rejects.toThrow('message_exists')
    expect(await read(id)).toHaveLength(2)
  })

  it('sees a stopped answer as aborted, with the text so far', async () => {
    const id = generateId()
    const pending = open(id, [say('Why?')])
    const answer = await model.takeAnswer()
    answer.say('Because')
    const types: string[] = []
    for await (const { type } of await pending) {
      types.push(type)
      if (type === 'text-delta') await app.inject({ method: 'DELETE', url: `/conversations/${id}`, headers: alice })
    }
    expect(types.slice(-4)).toEqual(['text-start', 'text-delta', 'text-end', 'abort'])
  })
})

it('a stream sends a heartbeat every 15 s, even before the first word', async () => {
  vi.useFakeTimers({ toFake: ['setInterval'] })
  onTestFinished(() => void vi.useRealTimers())
  const pending = post(`${url}/chat`, alice, { message: 'Think long!' })
  const answer = await model.takeAnswer()
  const { body } = await pending
  const text = body?.pipeThrough(new TextDecoderStream()).getReader()
  expect((await text?.read())?.value).toContain('data-conversation')
  vi.advanceTimersByTime(15_000)
  expect((await text?.read())?.value).toBe(': heartbeat\n\n')
  answer.end()
  await text?.cancel()
})

it('a reader that catches up never receives half a character', async () => {
  const answer = createAnswer('owner', { conversationId: 'c', answerId: 'a' })
  const server = createServer((_, response) => void writeUiMessageStream(createEventStream(response), answer)).listen(
    0,
    '127.0.0.1',
  )
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const whole = 'a'.repeat(16_383) // one less than a piece
  answer.append('text', `${whole}😀b`)
  answer.close({
    end: {
      status: 'complete',
      finishReason: null,
      inputTokens: null,
      outputTokens: null,
      cachedTokens: null,
      error: null,
    },
  })
  const address = server.address()
  const parts = await readParts(await fetch(`http://127.0.0.1:${Object(address).port}`))
  expect(parts.flatMap(({ delta }) => delta ?? [])).toEqual([whole, '😀b'])
})

describe('a reader that does not read', () => {
  /** Serves an answer of any length, because the kernel buffers megabytes for a reader that reads nothing. */
  async function serveAnswer() {
    const answer = createAnswer('ada', { conversationId: 'c', answerId: 'a' })
    const responses: ServerResponse[] = []
    const server = createServer(({ headers: { 'last-event-id': eventId } }, response) => {
      responses.push(response)
      const from = typeof eventId === 'string' ? { ...parseEventId(eventId), isContinued: false } : undefined
      void writeUiMessageStream(createEventStream(response), answer, from)
    }).listen()
    await once(server, 'listening')
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return { answer, responses, url: `http://127.0.0.1:${Object(server.address()).port}` }
  }
  const complete = {
    status: 'complete',
    finishReason: 'stop',
    inputTokens: null,
    outputTokens: null,
    cachedTokens: null,
    error: null,
  } as const

  it('between two heartbeats is disconnected; its answer continues, and it may resume', async () => {
    vi.useFakeTimers({ toFake: ['setInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const { answer, responses, url } = await serveAnswer()
    const reader = (await fetch(url)).body?.getReader()
    let text = ''
    /** Appends text until the kernel accepts no more. */
    const overfill = async () => {
      for (let full = 0; full < 20; full = responses[0]?.socket?.writableNeedDrain ? full + 1 : 0) {
        const word = `${text.length} `.padEnd(65_536, 'ü')
        text += word
        answer.append('text', word)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const beat = () => void vi.advanceTimersByTime(15_000)

    await overfill()
    beat()
    while (responses[0]?.socket?.writableNeedDrain) await reader?.read()
    beat()
    expect(responses[0]?.destroyed).toBe(false) // it is still reading, but slowly
    await overfill()
    beat()
    expect(responses[0]?.destroyed).toBe(false)
    beat()
    expect(responses[0]?.destroyed).toBe(true)

    answer.append('text', 'the end')
    answer.close({ end: complete })
    const rest = await readParts(await fetch(url, { headers: { 'last-event-id': `a.${text.length}` } }))
    expect(joinText(rest)).toBe('the end')
  })

  it('is also disconnected after its answer has ended, but has one heartbeat interval to read the rest', async () => {
    vi.useFakeTimers({ toFake: ['setInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const { answer, responses, url } = await serveAnswer()
    const reader = await fetch(url)
    onTestFinished(() => reader.body?.cancel().catch(() => {}))
    /** Waits until the kernel's buffer is full and the response's own buffer fills. */
    while (!responses[0]?.writableLength) {
      answer.append('text', 'a'.repeat(1000))
      await new Promise((resolve) => setImmediate(resolve))
    }
    answer.close({ end: complete })
    expect(responses[0]).toMatchObject({ writableEnded: true, writableFinished: false })
    vi.advanceTimersByTime(15_000)
    expect(responses[0]?.destroyed).toBe(false)
    vi.advanceTimersByTime(15_000)
    expect(responses[0]?.destroyed).toBe(true)
  })

  it('costs the process a bounded buffer, and receives every character once when it reads again', async () => {
    const { answer, responses, url } = await serveAnswer()
    const response = await fetch(url)
    const words = Array.from({ length: 5000 }, (_, index) => `${index} `.padEnd(4000, 'ü')) // exceeds the buffers
    let buffered = 0
    for (const [index, word] of words.entries()) {
      answer.append('text', word)
      if (index % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
      for (const { writableLength } of responses) buffered = Math.max(buffered, writableLength)
    }
    answer.close({ end: complete })
    for (const { writableLength } of responses) buffered = Math.max(buffered, writableLength)
    expect(responses.at(-1)?.writableEnded).toBe(false) // else nothing was held back
    expect(buffered).toBeGreaterThan(16_384)
    expect(buffered).toBeLessThan(300_000)

    const parts = await readParts(response)
    expect(joinText(parts) === words.join('')).toBe(true)
    expect(listTypes(parts).slice(-3)).toEqual(['text-end', 'finish', '[DONE]'])
  })
})
