import { type AnswerEvent, LlmError } from '@repo/llm'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { listTypes, post, readDelta, readParts, streamParts } from '@repo/testing/ui-stream'
import { pino } from 'pino'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { testApp } from '../testing.ts'

/** Starts an app with a scripted model, and returns it with helpers for these tests. */
async function openApp(environment: Record<string, string> = {}) {
  const model = createScriptedModel()
  const { app, alice, listen, close } = await testApp({ llm: model.llm, environment })
  const url = await listen()
  const ask = (conversationId: string, signal?: AbortSignal) =>
    post(`${url}/chat`, alice, { message: 'a question', conversationId }, signal)
  /** Resolves when the first word has arrived. The answer continues until the test ends it. */
  const begin = async (conversationId: string, signal?: AbortSignal) => {
    const pending = ask(conversationId, signal)
    const answer = await model.takeAnswer()
    answer.say('half')
    const parts = streamParts(await pending)
    await readDelta(parts)
    return { answer, parts }
  }
  const readAnswer = async (id: string) =>
    (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages?.at(-1)
  const follow = (id: string, signal: AbortSignal) => fetch(`${url}/chat/${id}/stream`, { headers: alice, signal })
  return { app, alice, llm: model.llm, ask, begin, follow, readAnswer, close }
}

describe('a conversation', async () => {
  const { ask, begin, close } = await openApp()
  afterAll(close)

  it('409 answer_running for another message, but only while an answer is running', async () => {
    const { answer, parts } = await begin('busy')
    expect(await (await ask('busy')).json()).toMatchObject({ status: 409, code: 'answer_running' })
    answer.end()
    await readParts(parts)
    const next = await begin('busy')
    next.answer.end()
    expect(listTypes(await readParts(next.parts))).toEqual(['text-end', 'finish', '[DONE]'])
  })
})

describe('when clients disconnect', async () => {
  const { app, begin, readAnswer, close } = await openApp({ DATABASE_POOL_SIZE: '5' })
  afterAll(close)
  const countListeners = () =>
    app.server.eventNames().reduce((count, event) => count + app.server.listenerCount(event), 0)
  const countConnections = () =>
    new Promise<number>((resolve) => app.server.getConnections((_, count) => resolve(count)))

  it('their answers continue and are persisted completely, and no connection or listener of the clients remains', async () => {
    const ids = Array.from({ length: 50 }, (_, index) => `left-${index}`)
    const listeners = countListeners()
    const leave = new AbortController()
    const answers = await Promise.all(ids.map(async (id) => (await begin(id, leave.signal)).answer))
    expect(await countConnections()).toBeGreaterThanOrEqual(ids.length)
    leave.abort()
    await expect.poll(countConnections).toBe(0)
    expect(countListeners()).toBe(listeners)
    for (const answer of answers) {
      expect(answer.request.signal.aborted).toBe(false)
      answer.say(' and half')
      answer.end()
    }
    for (const id of ids) {
      await expect.poll(() => readAnswer(id)).toMatchObject({ content: 'half and half', status: 'complete' })
    }
  })
})

describe('an unexpected error', async () => {
  const { llm } = createScriptedModel()
  const lines: string[] = []
  const logger = pino({ level: 'error' }, { write: (line: string) => void lines.push(line) })
  const { alice, listen, close } = await testApp({ llm, logger })
  const url = await listen()
  afterAll(close)

  async function* breakOff(): AsyncGenerator<AnswerEvent[]> {
    yield [{ type: 'text-delta', text: 'half' }]
    throw new TypeError('a.slip is not a function')
  }

  it.each([
    ['before', () => Promise.reject(new TypeError('a.slip is not a function'))],
    ['in the middle of', async () => breakOff()],
  ])('%s the stream is logged once, with its stack and the request id', async (_, stream) => {
    lines.length = 0
    llm.chat.stream = stream
    const response = await post(`${url}/chat`, alice, { message: 'a question' })
    await response.text()
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      {
        reqId: response.headers.get('x-request-id'),
        error: {
          name: 'TypeError',
          message: 'a.slip is not a function',
          stack: expect.stringContaining('chat.test.ts'),
        },
      },
    ])
  })
})

describe('MAX_STREAMS', async () => {
  const { app, alice, llm, ask, begin, follow, close } = await openApp({ MAX_STREAMS: '2' })
  afterAll(close)
  const { stream } = llm.chat

  const expectTwoPlaces = async (name: string) => {
    const first = await begin(`${name}-1`)
    const second = await begin(`${name}-2`)
    const refused = await ask(`${name}-3`)
    expect(refused.headers.get('retry-after')).toBe('2')
    expect(await refused.json()).toMatchObject({ status: 503, code: 'too_many_streams' })
    for (const { answer } of [first, second]) answer.end()
    for (const { parts } of [first, second]) await readParts(parts)
    expect((await app.inject({ url: `/conversations/${name}-3`, headers: alice })).statusCode).toBe(404)
  }

  it('503 beyond the limit; the slot is free again when an answer ends', async () => {
    await expectTwoPlaces('ended')
    await expectTwoPlaces('again')
  })

  it('503 for resumed streams beyond twice the limit', async () => {
    const { answer, parts } = await begin('followed')
    const leave = new AbortController()
    for (let readers = 1; readers < 4; readers += 1) expect((await follow('followed', leave.signal)).status).toBe(200)
    const refused = await follow('followed', leave.signal)
    expect(refused.headers.get('retry-after')).toBe('2')
    expect(await refused.json()).toMatchObject({ status: 503, code: 'too_many_streams' })
    leave.abort()
    const back = new AbortController()
    await expect.poll(async () => (await follow('followed', back.signal)).status).toBe(200)
    back.abort()
    answer.end()
    await readParts(parts)
  })

  it('the slot is free again when the model rejects the request', async () => {
    llm.chat.stream = () => Promise.reject(new LlmError('model_failed', 'the model failed'))
    for (const id of ['a', 'b', 'c']) expect((await ask(id)).status).toBe(502)
    llm.chat.stream = stream
    await expectTwoPlaces('refused')
  })

  it('the slot is free again when the model’s code throws', async () => {
    llm.chat.stream = () => {
      throw new TypeError('not a function')
    }
    for (const id of ['d', 'e', 'f']) expect(await (await ask(id)).json()).toMatchObject({ code: 'internal_error' })
    llm.chat.stream = stream
    await expectTwoPlaces('threw')
  })

  it('the slot is free again when the request is rejected or abandoned, or its conversation is deleted', async () => {
    const left = new AbortController()
    const { answer } = await begin('busy', left.signal)
    expect((await ask('busy')).status).toBe(409)
    left.abort()
    answer.end()
    const deleted = await begin('deleted')
    await app.inject({ method: 'DELETE', url: '/conversations/deleted', headers: alice })
    await readParts(deleted.parts)
    const isStored = async () =>
      (await app.inject({ url: '/conversations/busy', headers: alice })).json().messages[1].status
    await expect.poll(isStored).toBe('complete')
    await expectTwoPlaces('freed')
  })
})

describe('a drain without a grace period', async () => {
  const { app, store, alice, close } = await testApp({ llm: createScriptedModel().llm })
  afterAll(close)

  it('also interrupts an answer whose question is still being stored', async () => {
    const owner = await store.owners.ensure('alice')
    const question = { conversationId: 'opening', questionId: 'q', text: 'a question', action: 'ask' as const }
    const asked = app.chat.ask(owner, question)
    await app.chat.drain(0)
    expect((await asked).end).toMatchObject({ status: 'interrupted' })
    const { messages } = (await app.inject({ url: '/conversations/opening', headers: alice })).json()
    expect(messages[1]).toMatchObject({ content: '', status: 'interrupted' })
  })
})

describe('a drain', async () => {
  const { app, ask, begin, readAnswer, close } = await openApp()
  afterAll(close)

  it('waits for answers, interrupts slow ones, and accepts no new ones', async () => {
    vi.useFakeTimers({ toFake: ['performance'] }) // the test decides when the time is up
    onTestFinished(() => void vi.useRealTimers())
    const short = await begin('short')
    const long = await begin('long')
    const drained = app.chat.drain(1000)
    const refused = await ask('late')
    expect(refused.headers.get('retry-after')).toBe('2')
    expect(refused.headers.get('x-should-retry')).toBe('true') // tells the load balancer to try another process
    expect(await refused.json()).toMatchObject({ status: 503, code: 'shutting_down' })

    short.answer.say(' and half')
    short.answer.end()
    expect(listTypes(await readParts(short.parts)).slice(-2)).toEqual(['finish', '[DONE]'])

    vi.advanceTimersByTime(1000)
    const rest = await readParts(long.parts)
    expect(rest).toMatchObject([{ type: 'text-end' }, { type: 'abort', reason: 'interrupted' }, { type: '[DONE]' }])
    expect(long.answer.request.signal.aborted).toBe(true)
    await drained
    expect(await readAnswer('short')).toMatchObject({ content: 'half and half', status: 'complete' })
    expect(await readAnswer('long')).toMatchObject({ content: 'half', status: 'interrupted' })
    expect(await readAnswer('late')).toBeUndefined()
  })
})
