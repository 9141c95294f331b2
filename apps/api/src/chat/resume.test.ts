import { once } from 'node:events'
import { createServer, connect as dial } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { LlmError } from '@repo/llm'
import { startApi } from '@repo/testing/processes'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { joinText, listTypes, type Part, post, readParts, streamParts } from '@repo/testing/ui-stream'
import { DefaultChatTransport, generateId, readUIMessageStream, type UIMessage, type UIMessageChunk } from 'ai'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const model = createScriptedModel()
const { app, test, alice, bob, work, listen, close } = await testApp({ llm: model.llm })
afterAll(close)
const here = await listen()
const { url: elsewhere } = await startApi({ DATABASE_URL: test.databaseUrl, AUTH: 'required' })
const places = [
  ['the same process', here],
  ['another process', elsewhere],
] as const

const payload = { title: 'Pool', text: 'The swimming pool is open from nine to five.' }
await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
await work()

/** Characters of one to four bytes, and some of several code points. */
const pieces = Array.from(
  { length: 30 },
  (_, index) => ['Ebb ', '😀', ' & "flut"\\\n', '汉字', '👩‍🚀é'][index % 5] ?? '',
)
const text = pieces.join('')

const begin = async (conversationId: string, headers = alice) => {
  const pending = post(`${here}/chat`, headers, { message: 'When does the pool open?', conversationId })
  const answer = await model.takeAnswer()
  return { answer, response: await pending }
}
const resume = (url: string, conversationId: string, lastEventId?: string, headers = alice) =>
  fetch(`${url}/chat/${conversationId}/stream`, {
    headers: { ...headers, ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) },
  })
const stop = (conversationId: string) => post(`${here}/chat/${conversationId}/stop`, alice, {})
const readStored = async (id: string) =>
  (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages.at(-1)
const isDelta = ({ type }: Part) => type === 'text-delta'

/** Starts a TCP proxy that forwards new connections to the process that was selected last. */
async function openBalancer(chosen: string) {
  const state = { chosen, used: '' }
  const server = createServer((client) => {
    state.used = state.chosen
    const process = dial(Number(new URL(state.chosen).port), '127.0.0.1')
    pipeline(client, process, client).catch(() => {}) // if one side breaks off, the other is closed too
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  afterAll(() => void server.close())
  const address = server.address()
  return Object.assign(state, { url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}` })
}

/** Cuts the received stream after each event, and expects the exact rest from there. */
async function expectExactRest(url: string, conversationId: string, parts: Part[]) {
  const deltas = parts.filter(isDelta)
  const end = parts.slice(-2)
  const first = parts.find(({ type }) => type === 'text-start') // after the sources and the reasoning
  const before = parts.slice(0, first && parts.indexOf(first)).findLast(({ eventId }) => eventId)
  for (let kept = 0; kept <= deltas.length; kept += 1) {
    const lastEventId = deltas[kept - 1]?.eventId ?? before?.eventId
    const rest = await readParts(await resume(url, conversationId, lastEventId))
    expect(joinText(deltas.slice(0, kept)) + joinText(rest)).toBe(joinText(parts))
    expect(rest.slice(-2)).toEqual(end)
    expect(rest.every(({ type }) => !/^(start|data-|source-|reasoning-)/.test(type))).toBe(true)
    if (kept < deltas.length) expect(rest.findLast(isDelta)?.eventId).toBe(deltas.at(-1)?.eventId)
  }
  const beyond = await readParts(await resume(url, conversationId, `${parts[0]?.messageId}.99999`))
  expect(beyond.slice(-2)).toEqual(end)
  expect(joinText(beyond)).toBe('')
  expect(beyond).toEqual(end)
}

describe('an answer that has ended', () => {
  const failure = new LlmError('model_failed', 'the model aborted its answer')
  const usage = { inputTokens: 12, outputTokens: 3, cachedInputTokens: 8 }
  const messageMetadata = { finishReason: 'stop', model: 'spoken', usage: { ...usage, totalTokens: 15 } }
  it.each([
    [
      'complete',
      { type: 'finish', finishReason: 'stop', messageMetadata },
      async (_, answer) => answer.end('stop', usage),
    ],
    ['stopped', { type: 'abort', reason: 'stopped' }, async (id) => void (await stop(id))],
    ['failed', { type: 'error', errorText: failure.message }, async (_, answer) => answer.fail(failure)],
  ] satisfies [string, Part, (id: string, answer: Awaited<ReturnType<typeof begin>>['answer']) => Promise<void>][])(
    'as %s is resumed from each of its events on any process, with the same text and end',
    async (status, closing, end) => {
      const { answer, response } = await begin(status)
      const reader = streamParts(response)
      const parts: Part[] = []
      answer.think('Hm.')
      for (const piece of pieces) answer.say(piece)
      for await (const part of reader) {
        parts.push(part)
        if (joinText(parts) === text && isDelta(part)) await end(status, answer)
      }
      expect(parts.slice(-2)).toEqual([closing, { type: '[DONE]' }])
      expect(await readStored(status)).toMatchObject({ content: text, status })
      for (const [, url] of places) await expectExactRest(url, status, parts)
    },
  )

  it.each(places)('is replayed by its id in %s while a newer one is running', async (name, url) => {
    const id = `older-${name.replaceAll(' ', '-')}`
    const older = await begin(id)
    older.answer.say('older')
    older.answer.end()
    const [start] = await readParts(older.response)
    const newer = await begin(id)
    newer.answer.say('newer')
    const rest = await readParts(await resume(url, id, `${start?.messageId}.3`))
    expect(joinText(rest)).toBe('der')
    expect(listTypes(rest).slice(-2)).toEqual(['finish', '[DONE]'])
    newer.answer.end()
    await readParts(newer.response)
  })

  it.each(places)('204 without an event id, in %s', async (_, url) => {
    expect((await resume(url, 'complete')).status).toBe(204)
  })
})

describe('a running answer', () => {
  it.each(places)('is streamed from its start in %s, with sources, text and the closing events', async (name, url) => {
    const id = `whole-${name.replaceAll(' ', '-')}`
    const { answer, response } = await begin(id)
    const first = await resume(url, id)
    answer.say('half')
    const second = await resume(url, id)
    answer.say(' and half')
    answer.end()
    const parts = await readParts(response)
    for (const resumed of [first, second]) {
      const varying = { date: expect.any(String), 'x-request-id': expect.any(String) }
      expect(Object.fromEntries(resumed.headers)).toEqual({ ...Object.fromEntries(response.headers), ...varying })
      const whole = await readParts(resumed)
      expect(listTypes(whole)).toEqual(listTypes(parts))
      expect(whole.filter(({ type }) => !isDelta({ type }))).toEqual(parts.filter(({ type }) => !isDelta({ type })))
      expect(joinText(whole)).toBe('half and half')
    }
  })

  it.each(places)('is resumed in the middle of its reasoning, in %s', async (name, url) => {
    const id = `reasoned-${name.replaceAll(' ', '-')}`
    const { answer, response } = await begin(id)
    const original = streamParts(response)
    answer.think('Hm.')
    answer.say('half')
    let part = await original.next()
    while (part.value?.type !== 'reasoning-delta') part = await original.next()
    const resumed = readParts(await resume(url, id, part.value.eventId))
    answer.think('Hm?')
    answer.say(' and half')
    answer.end()
    await readParts(original)
    expect(joinText(await resumed)).toBe('half and half')
    expect(new Set(listTypes(await resumed))).toEqual(
      new Set([
        ...['text-start', 'text-delta', 'text-end'],
        ...['reasoning-start', 'reasoning-delta', 'reasoning-end'],
        'finish',
        '[DONE]',
      ]),
    )
  })

  it('has no gap or repetition for readers that join, leave and change processes while it grows', async () => {
    const { answer, response } = await begin('hopping')
    const original = readParts(response)
    let isOver = false
    const speak = async () => {
      for (const piece of [...pieces, ...pieces]) {
        answer.say(piece)
        await sleep(50)
      }
      answer.end()
      isOver = true
    }
    const spoken = speak()
    const readHopping = async (first: number, eventsAtOnce: number) => {
      const read: Part[] = []
      for (let hop = first; read.at(-1)?.type !== '[DONE]'; hop += 1) {
        const reader = streamParts(await resume(hop % 2 ? elsewhere : here, 'hopping', read.findLast(isDelta)?.eventId))
        for (let events = 0; events < eventsAtOnce || isOver; events += 1) {
          const { value } = await reader.next()
          if (!value) break
          read.push(value)
        }
        await reader.return(undefined)
      }
      return joinText(read)
    }
    const readers = [0, 1, 2, 3].map((first) => readHopping(first, 6 + 3 * first))
    await spoken
    expect(await Promise.all(readers)).toEqual(readers.map(() => text + text))
    expect(joinText(await original)).toBe(text + text)
  })

  it('ends as stopped for a reader in another process when its conversation is deleted', async () => {
    const { answer, response } = await begin('deleted')
    answer.say('half')
    const resumed = await resume(elsewhere, 'deleted')
    await app.inject({ method: 'DELETE', url: '/conversations/deleted', headers: alice })
    const end = [{ type: 'abort', reason: 'stopped' }, { type: '[DONE]' }]
    expect((await readParts(resumed)).slice(-2)).toEqual(end)
    expect((await readParts(response)).slice(-2)).toEqual(end)
  })
})

describe('the AI SDK’s own client, with two processes behind one address', async () => {
  const balancer = await openBalancer(here)
  const transport = new DefaultChatTransport({ api: `${balancer.url}/chat`, headers: alice })
  const readMessage = async (stream: ReadableStream<UIMessageChunk>) => {
    let message: UIMessage | undefined
    for await (const state of readUIMessageStream({ stream, terminateOnError: true })) message = state
    return message
  }

  it('reconnects to the other process and gets the whole message', async () => {
    const chatId = generateId()
    const leave = new AbortController()
    const question: UIMessage = { id: 'q', role: 'user', parts: [{ type: 'text', text: 'When does the pool open?' }] }
    const pending = transport.sendMessages({
      chatId,
      messages: [question],
      trigger: 'submit-message',
      messageId: undefined,
      abortSignal: leave.signal,
    })
    const answer = await model.takeAnswer()
    answer.say('At nine')
    const reader = (await pending).getReader()
    for (let part = await reader.read(); part.value?.type !== 'text-delta'; ) part = await reader.read()
    balancer.chosen = elsewhere
    leave.abort()

    const resumed = await transport.reconnectToStream({ chatId })
    expect(balancer.used).toBe(elsewhere)
    answer.say(' 😀')
    answer.say(' [1].')
    answer.end()
    const message = await readMessage(resumed ?? new ReadableStream())
    expect(message).toMatchObject({
      id: (await readStored(chatId)).id,
      parts: [
        { type: 'source-document', sourceId: '1', title: 'Pool' },
        { type: 'text', text: 'At nine 😀 [1].', state: 'done' },
      ],
    })
    expect(await transport.reconnectToStream({ chatId })).toBeNull()
    expect(await transport.reconnectToStream({ chatId: 'unknown' })).toBeNull()
  })
})

describe('a request that cannot be resumed', () => {
  it.each(places)('returns 400, 404 or 204 in %s, and changes nothing', async (name, url) => {
    const id = `mine-${name.replaceAll(' ', '-')}`
    const { answer, response } = await begin(id)
    const reader = streamParts(response)
    const messageId = (await reader.next()).value?.messageId
    const [{ id: questionId }] = (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages
    const expectProblem = async (resumed: Promise<Response>, problem: object) =>
      expect(await (await resumed).json()).toMatchObject(problem)
    for (const malformed of [
      'x',
      '1',
      `${messageId}`,
      `${messageId}.`,
      `${messageId}.-1`,
      `${messageId}.1.1`,
      '.1',
      'ü.1',
    ]) {
      const encoded = Buffer.from(malformed).toString('latin1')
      await expectProblem(resume(url, id, encoded), { status: 400, code: 'invalid_event_id' })
    }
    const missing = { status: 404, code: 'answer_not_found' }
    await expectProblem(resume(url, id, 'unknown.0'), missing)
    await expectProblem(resume(url, id, `${questionId}.0`), missing)
    await expectProblem(resume(url, 'unknown', `${messageId}.0`), missing)
    await expectProblem(resume(url, id, `${messageId}.0`, bob), missing)
    expect((await resume(url, id, undefined, bob)).status).toBe(204)
    expect((await resume(url, 'unknown')).status).toBe(204)
    expect((await resume(url, 'not an id', `${messageId}.0`)).status).toBe(400)
    expect((await resume(url, id, `${messageId}.0`, { authorization: 'Bearer sl_no_key' })).status).toBe(401)
    expect(await readStored(id)).toMatchObject({ content: '', status: 'streaming' })
    answer.end()
    await readParts(reader)
  })
})

it('a draining process interrupts its answers; another process serves them completely', async () => {
  const { answer, response } = await begin('drained')
  for (const piece of pieces) answer.say(piece)
  const followed = await resume(elsewhere, 'drained')
  const parts: Part[] = []
  for await (const part of streamParts(response)) {
    parts.push(part)
    if (joinText(parts) === text && isDelta(part)) await app.chat.drain(0)
  }
  expect(parts.slice(-2)).toEqual([{ type: 'abort', reason: 'interrupted' }, { type: '[DONE]' }])
  expect(joinText(await readParts(followed))).toBe(text)
  await expectExactRest(elsewhere, 'drained', parts)
})
