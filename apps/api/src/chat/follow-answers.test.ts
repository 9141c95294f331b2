import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { type AnswerPart, connect, createStore } from '@repo/db'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { openTcpProxy } from '@repo/testing/tcp-proxy'
import { joinText, listTypes, readDelta, readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { testApp } from '../testing.ts'

vi.useFakeTimers({ toFake: ['setInterval'] }) // polling runs every 250 ms
const gate = await openTcpProxy()
const environment = { MAX_STREAMS: '25' }
const { app, store, test, alice, listen, close } = await testApp({ llm: createScriptedModel().llm, gate, environment })
const url = await listen()
const owner = await store.owners.ensure('alice')
const writer = connect({ url: test.databaseUrl, poolSize: 2 })
const { answers, conversations, turns } = createStore(writer.db)
afterAll(async () => {
  await writer.close()
  await close()
  await gate.shut()
})

const sources = [{ n: 1, documentId: 'd', chunkId: 'c', title: 'Pool', start: 0, end: 9 }]
const nothing = { finishReason: null, inputTokens: null, outputTokens: null, cachedTokens: null, error: null }

const words = (text: string): AnswerPart[] => [
  { type: 'sources', count: 1 },
  { type: 'text', text },
]

/** Starts an answer that another process writes. */
async function begin(conversationId: string) {
  const key = { conversationId, answerId: randomUUID() }
  await turns.open(owner, { ...key, title: 'a title', questionId: 'q', question: 'a question' })
  return {
    ...key,
    store: (content: string) => answers.saveProgress([{ ...key, owner, start: 0, parts: words(content), sources }]),
    end: (content: string) =>
      answers.finish(owner, key, { ...nothing, parts: words(content), sources, status: 'complete' }),
  }
}

const left = new AbortController()
const follow = async (conversationId: string, lastEventId?: string, signal = left.signal) => {
  const headers = { ...alice, ...(lastEventId && { 'last-event-id': lastEventId }) }
  return fetch(`${url}/chat/${conversationId}/stream`, { headers, signal })
}

const watchReads = () => {
  const read = vi.spyOn(store.answers, 'read')
  onTestFinished(() => read.mockRestore())
  /** Advances by one poll. Returns how many answers each of its statements asked for. */
  return async () => {
    read.mockClear()
    await vi.advanceTimersByTimeAsync(250)
    await Promise.allSettled(read.mock.results.map(({ value }) => value))
    return read.mock.calls.map(([positions]) => positions.length)
  }
}

it('costs one statement per poll for all readers, and none without readers', async () => {
  const tick = watchReads()
  expect(await tick()).toEqual([])
  const some = await Promise.all(['a', 'b', 'c', 'd'].map(begin))
  const leave = new AbortController()
  const responses = await Promise.all(
    Array.from({ length: 20 }, (_, index) => follow(some[index % 4]?.conversationId ?? '', undefined, leave.signal)),
  )
  expect(await tick()).toEqual([20])
  for (const response of responses.slice(10)) await response.body?.cancel()
  await expect.poll(tick).toEqual([10])
  leave.abort()
  await expect.poll(tick).toEqual([])
  for (const answer of some) await answer.end('')
})

it('sends every reader the text that it has not read, wherever it joined', async () => {
  const tick = watchReads()
  const answer = await begin('joined')
  const first = streamParts(await follow('joined'))
  await answer.store('😀')
  await tick()
  expect(await readDelta(first)).toBe('😀')
  await answer.store('😀 and 汉')
  const second = streamParts(await follow('joined'))
  const third = streamParts(await follow('joined', `${answer.answerId}.5`))
  await answer.store('😀 and 汉字')
  expect(await tick()).toEqual([3])
  await answer.end('😀 and 汉字.')
  await tick()
  expect(joinText(await readParts(first))).toBe(' and 汉字.')
  expect(joinText(await readParts(second))).toBe('😀 and 汉字.')
  expect(joinText(await readParts(third))).toBe('nd 汉字.')
})

it('sends sources that were stored after the reader joined, before the first word', async () => {
  const tick = watchReads()
  const answer = await begin('sourced')
  const parts = readParts(await follow('sourced'))
  await answer.store('')
  await tick()
  await answer.end('At nine [1].')
  await tick()
  expect(listTypes(await parts)).toEqual([
    'start',
    'data-conversation',
    'source-document',
    'text-start',
    'text-delta',
    'text-end',
    'finish',
    '[DONE]',
  ])
})

it('skips text that its reader received from the other process before it was stored', async () => {
  const tick = watchReads()
  const answer = await begin('ahead')
  await answer.store('one')
  const parts = readParts(await follow('ahead', `${answer.answerId}.9`))
  await answer.store('one, two')
  await tick()
  await answer.end('one, two, three')
  await tick()
  expect(joinText(await parts)).toBe(', three')
})

it('continues after a database outage', async () => {
  const tick = watchReads()
  const answer = await begin('outage')
  await answer.store('half')
  const parts = readParts(await follow('outage'))
  await gate.shut()
  const failed = tick()
  await answer.end('half and half')
  await gate.open()
  await failed
  await tick()
  expect(joinText(await parts)).toBe('half and half')
})

it('stops polling for an answer that has ended, even with a slow reader', async () => {
  const tick = watchReads()
  const answer = await begin('large')
  const responses: ServerResponse[] = []
  app.server.once('request', (_, response) => responses.push(response))
  const slow = await follow('large')
  await answer.end('large '.repeat(2_000_000)) // more than the kernel buffers
  expect(await tick()).toEqual([1])
  expect(await tick()).toEqual([])
  expect(responses[0]?.writableEnded).toBe(false) // else the reader was not slow
  await slow.body?.cancel()
  const isCalm = async () => (await app.inject('/health/ready')).statusCode
  await expect.poll(isCalm).toBe(200) // this much text keeps the event loop busy
})

it('ends as stopped when the conversation is deleted', async () => {
  const tick = watchReads()
  await begin('deleted')
  const parts = readParts(await follow('deleted'))
  await conversations.remove(owner, 'deleted')
  await tick()
  expect((await parts).slice(-2)).toEqual([{ type: 'abort', reason: 'stopped' }, { type: '[DONE]' }])
})

describe('a process', () => {
  it('503 for too many readers; the slot is free again when one leaves', async () => {
    const answer = await begin('crowded')
    const responses = await Promise.all(Array.from({ length: 25 }, () => follow('crowded')))
    const refused = await follow('crowded')
    expect(refused.headers.get('retry-after')).toBe('2')
    expect(await refused.json()).toMatchObject({ status: 503, code: 'too_many_streams' })
    await responses[0]?.body?.cancel()
    await expect.poll(async () => (await follow('crowded')).status).toBe(200)
    await answer.end('')
  })

  it('that is draining tells its readers to reconnect, and the answer continues', async () => {
    left.abort()
    const answer = await begin('drained')
    await answer.store('half')
    const patient = () => follow('drained', undefined, AbortSignal.timeout(120_000))
    const running = readParts(await patient())
    await app.chat.drain(0)
    expect((await running).slice(-3)).toEqual([
      { type: 'text-end', id: '1' },
      { type: 'abort', reason: 'interrupted' },
      { type: '[DONE]' },
    ])
    expect(await (await patient()).json()).toMatchObject({ status: 503, code: 'shutting_down' })
    expect(await answer.end('half and half')).toBe(true)
  })
})
