import type { ServerResponse } from 'node:http'
import type { TraceWork } from '@repo/telemetry'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { joinText, post, readParts } from '@repo/testing/ui-stream'
import { beginChunks, chunk, completion, sendJson, startUpstream, usage } from '@repo/testing/upstream'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { testApp } from '../testing.ts'
import { createAnswer } from './answer.ts'
import { AnswerEndedError } from './answer-end.ts'
import { maxAnswerBytes, takeBytes } from './answer-limits.ts'
import { createStreamSlots } from './stream-slots.ts'
import { writeAnswer } from './write-answer.ts'

const upstream = await startUpstream()
const environment = { OPENAI_BASE_URL: upstream.url, CHAT_MODEL: 'm' }
const long = await openApp({}) // its answers are limited by size
const short = await openApp({ MAX_ANSWER_TOKENS: '5' })

async function openApp(more: Record<string, string>) {
  const { app, alice, listen, close } = await testApp({ environment: { ...environment, ...more } })
  afterAll(close)
  const url = await listen()
  return {
    app,
    ask: async (conversationId: string) =>
      readParts(await post(`${url}/chat`, alice, { message: 'Why?', conversationId })),
    stop: (conversationId: string) => post(`${url}/chat/${conversationId}/stop`, alice, {}),
    resume: async (conversationId: string, eventId = '') =>
      readParts(
        await fetch(`${url}/chat/${conversationId}/stream`, { headers: { ...alice, 'last-event-id': eventId } }),
      ),
    read: async (id: string) =>
      (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages.at(-1),
    complete: (body: object) =>
      post(`${url}/v1/chat/completions`, alice, {
        ...{ model: 'm', messages: [{ role: 'user', content: 'Hi' }], retrieval: false },
        ...body,
      }),
  }
}

const words = (count: number, name = 'content') => Array.from({ length: count }, (_, n) => chunk({ [name]: `w${n} ` }))
const repeat = (text: string, bytes: number) => text.repeat(Math.ceil(bytes / Buffer.byteLength(text)))

/** Sends these chunks as the model, which then neither ends its answer nor disconnects. */
const send = (...chunks: object[]) => upstream.next((response: ServerResponse) => void beginChunks(response, ...chunks))

/** Runs `work` and expects the server to cancel exactly one model call meanwhile. */
async function expectHungUp<T>(work: () => Promise<T>): Promise<T> {
  const before = upstream.counts.hungUp
  const result = await work()
  await expect.poll(() => upstream.counts.hungUp, { timeout: 10_000 }).toBe(before + 1)
  return result
}

describe('an answer of a model that never stops', () => {
  it('ends at MAX_ANSWER_TOKENS, complete, with the same text for its reader, a later reader and the database', async () => {
    send(...words(9))
    const parts = await expectHungUp(() => short.ask('tokens'))
    expect(joinText(parts)).toBe('w0 w1 w2 w3 w4 ')
    expect(parts.slice(-2)).toMatchObject([{ type: 'finish', finishReason: 'length' }, { type: '[DONE]' }])
    const stored = await short.read('tokens')
    expect(stored).toMatchObject({ content: 'w0 w1 w2 w3 w4 ', status: 'complete' })
    const rest = await short.resume('tokens', `${stored.id}.6`)
    expect(joinText(rest)).toBe('w2 w3 w4 ')
    expect(rest.slice(-2)).toEqual(parts.slice(-2))
  })

  it('passes the limit on to the model', () => {
    expect(upstream.calls.at(-1)?.body).toMatchObject({ max_tokens: 5 })
  })

  it('counts reasoning towards the limit', async () => {
    send(...words(3, 'reasoning_content'), ...words(9))
    const parts = await expectHungUp(() => short.ask('reasoning'))
    expect(parts.filter(({ type }) => type === 'reasoning-delta').length).toBe(3)
    expect(joinText(parts)).toBe('w0 w1 ')
  })

  it('keeps the model’s own finish reason when it ends at exactly the limit', async () => {
    upstream.next((response) => beginChunks(response, ...words(5), chunk({}, 'stop')).end('data: [DONE]\n\n'))
    const parts = await short.ask('exact')
    expect(parts.at(-2)).toMatchObject({ type: 'finish', finishReason: 'stop' })
  })

  it.each(['a', 'ü', '汉', '😀'])('ends at 1 MB without dividing a character, here %s', async (character) => {
    const piece = repeat(character, 300_000)
    send(...Array(4).fill(chunk({ content: piece })))
    const id = `size-${Buffer.byteLength(character)}`
    const parts = await expectHungUp(() => long.ask(id))
    expect(parts.at(-2)).toMatchObject({ type: 'finish', finishReason: 'length' })
    const { content, status } = await long.read(id)
    expect(status).toBe('complete')
    expect(piece.repeat(4).startsWith(content)).toBe(true)
    expect(content.endsWith(character)).toBe(true)
    expect(maxAnswerBytes - Buffer.byteLength(content)).toBeLessThan(Buffer.byteLength(character))
    expect(joinText(parts) === content).toBe(true)
  })

  it('ends at 1 MB of text and reasoning together', async () => {
    send(chunk({ reasoning: 'a'.repeat(600_000) }), chunk({ content: 'b'.repeat(600_000) }))
    const parts = await expectHungUp(() => long.ask('both'))
    expect(joinText(parts).length).toBe(400_000)
  })
})

it('an answer can be stopped while all slots are taken', async () => {
  const { app, ask, read, stop } = await openApp({ MAX_STREAMS: '1' })
  const calls = upstream.calls.length
  send(...words(3))
  const parts = ask('stoppable')
  await expect.poll(() => upstream.calls.length, { timeout: 10_000 }).toBe(calls + 1)
  expect(() => app.chat.assertSlot('')).toThrow('All answer slots')
  expect((await stop('stoppable')).status).toBe(204)
  expect((await parts).at(-2)).toEqual({ type: 'abort', reason: 'stopped' })
  expect(await read('stoppable')).toMatchObject({ status: 'stopped' })
})

describe('a completion of a model that never stops', () => {
  const readChunks = async (response: Response) =>
    (await response.text())
      .split('\n\n')
      .flatMap((event) => (event.startsWith('data: {') ? JSON.parse(event.slice(6)) : []))

  it.each(['content', 'reasoning_content'])(
    'ends at MAX_ANSWER_TOKENS of %s with a final `length` chunk',
    async (name) => {
      send(...words(9, name))
      const response = await expectHungUp(() => short.complete({ stream: true }))
      const text = await response.text()
      expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
      const chunks = await readChunks(new Response(text))
      expect(chunks.map(({ choices }) => choices[0].delta[name] ?? choices[0])).toEqual([
        ...['w0 ', 'w1 ', 'w2 ', 'w3 ', 'w4 '],
        { index: 0, delta: {}, finish_reason: 'length' },
      ])
      expect(chunks.at(-1)).toMatchObject({ id: 'c', model: 'the-model', object: 'chat.completion.chunk' })
    },
  )

  it('ends at 1 MB', async () => {
    send(...Array(4).fill(chunk({ content: 'ü'.repeat(150_000) })))
    const response = await expectHungUp(() => long.complete({ stream: true }))
    const chunks = await readChunks(response)
    expect(chunks.map(({ choices }) => choices[0].finish_reason)).toEqual([null, null, null, 'length'])
  })

  it('of several choices, ends only those that are still running', async () => {
    const of = (index: number, delta: object, reason: string | null = null) => {
      const one = chunk(delta, reason)
      return { ...one, choices: [{ ...one.choices[0], index }] }
    }
    send(of(0, { content: 'a' }), of(0, {}, 'stop'), ...Array.from({ length: 12 }, () => of(1, { content: 'b' })))
    const chunks = await readChunks(await expectHungUp(() => short.complete({ stream: true, n: 2 })))
    expect(chunks.length).toBe(12) // 2 × 5 tokens, and one final chunk per choice
    expect(chunks.at(-1).choices).toEqual([{ index: 1, delta: {}, finish_reason: 'length' }])
  })

  it('is cut off at 1 MB when it is not streamed', async () => {
    upstream.next(sendJson(completion({ reasoning: 'a'.repeat(600_000), content: 'ü'.repeat(300_000) })))
    const body = await (await long.complete({})).json()
    expect(body).toMatchObject({
      choices: [{ finish_reason: 'length', message: { content: 'ü'.repeat(200_000) } }],
      usage,
    })
  })

  it('is passed on unchanged when it is not streamed and short enough', async () => {
    const sent = completion({ content: 'Hi', vendor_only: 1 })
    upstream.next(sendJson(sent))
    expect(await (await long.complete({})).json()).toEqual(sent)
  })
})

describe('the time limit of an answer', () => {
  it('ends the answer with `length` and keeps its text', async () => {
    const { llm, takeAnswer } = createScriptedModel()
    const answer = createAnswer('owner', { conversationId: 'c', answerId: 'a' })
    const searchPassages = async () => ({ passages: [] })
    const limits = { maxTokens: 9, timeoutMs: 9 }
    const trace: TraceWork = (_, __, run) => run()
    const options = { ...{ ...long.app, llm, tools: new Map(), searchPassages, trace }, limits, maxSteps: 5 }
    const turn = { question: 'Why?', history: [], model: llm.chat }
    const outcome = writeAnswer({ ...options, retrieval: 'always', onFallback: () => {} }, answer, turn)
    const spoken = await takeAnswer()
    spoken.say('half')
    await expect.poll(() => answer.text()).toBe('half')
    answer.controller.abort(new AnswerEndedError('timeout'))
    expect(await outcome).toMatchObject({ end: { status: 'complete', finishReason: 'length' } })
    expect(answer.text()).toBe('half')
  })

  it('starts when the slot is taken and ends when it is released', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const noLimits = { countRequest: () => {}, acquireStream: () => {}, releaseStream: () => {}, close: async () => {} }
    const slots = createStreamSlots(2, noLimits, { maxTokens: 9, timeoutMs: 600 })
    const [late, ended] = [new AbortController(), new AbortController()]
    slots.acquire('owner', late)
    slots.acquire('owner', ended)()
    vi.advanceTimersByTime(599)
    expect(late.signal.aborted).toBe(false)
    vi.advanceTimersByTime(1)
    expect(late.signal.reason).toMatchObject({ reason: 'timeout' })
    expect(ended.signal.aborted).toBe(false)
  })

  it('reports a timeout when the answer has no text yet', async () => {
    const { ask, read, complete } = await openApp({ ANSWER_TIMEOUT_MS: '300' })
    for (let calls = 0; calls < 3; calls += 1) upstream.next(() => {})
    await ask('late')
    expect(await read('late')).toMatchObject({ content: '', status: 'failed' })
    for (const stream of [true, false]) {
      const response = await complete({ stream })
      expect([response.status, await response.json()]).toMatchObject([504, { error: { code: 'model_timeout' } }])
    }
  })
})

it('text is cut between characters', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((bytes) => takeBytes('aü😀b', bytes))).toEqual([
    '',
    'a',
    'a',
    'aü',
    'aü',
    'aü',
    'aü',
    'aü😀',
    'aü😀b',
    'aü😀b',
  ])
})
