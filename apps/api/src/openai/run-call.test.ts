import { beginChunks, chunk, completion, sendChunks, sendJson, startUpstream } from '@repo/testing/upstream'
import OpenAI from 'openai'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'

const chatModel = await startUpstream()
const embeddingModel = await startUpstream()
const environment = {
  OPENAI_BASE_URL: chatModel.url,
  CHAT_MODEL: 'the-model',
  EMBEDDING_BASE_URL: embeddingModel.url,
  EMBEDDING_MODEL: 'the-embedder',
}
const { app, alice, listen, close } = await testApp({ environment })
const openai = connect(await listen(), alice)
afterAll(close)

function connect(url: string, { authorization }: { authorization: string }) {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: authorization.replace('Bearer ', '') })
}

const body = { model: 'the-model', messages: [{ role: 'user' as const, content: 'Hi' }], retrieval: false }
const hi = chunk({ role: 'assistant', content: 'Hi' })

/** Holds the next call. Returns a promise that resolves when the call has arrived. */
function holdNext(upstream: typeof chatModel, begin: Parameters<typeof chatModel.next>[0] = () => {}) {
  const { promise, resolve } = Promise.withResolvers<void>()
  upstream.next((response) => {
    begin(response)
    resolve()
  })
  return promise
}

/** Expects that the model's server saw the caller disconnect, and that nothing was retried. */
async function expectHungUp({ counts, calls }: typeof chatModel, before: { hungUp: number; calls: number }) {
  await expect.poll(() => counts.hungUp).toBe(before.hungUp + 1)
  expect(calls.length).toBe(before.calls + 1)
}

const look = ({ counts, calls }: typeof chatModel) => ({ hungUp: counts.hungUp, calls: calls.length })

describe('a client that disconnects ends the model’s call at once', () => {
  it.each([
    ['before the first byte of a stream', true],
    ['when it is not streamed', false],
  ])('%s', async (_, stream) => {
    const before = look(chatModel)
    const abort = new AbortController()
    const held = holdNext(chatModel)
    const asking = openai.chat.completions.create({ ...body, stream }, { signal: abort.signal })
    const left = expect(asking).rejects.toBeInstanceOf(OpenAI.APIUserAbortError)
    await held
    abort.abort()
    await left
    await expectHungUp(chatModel, before)
  })

  it('before the first token of a stream that has begun', async () => {
    const before = look(chatModel)
    chatModel.next((response) => beginChunks(response))
    const stream = await openai.chat.completions.create({ ...body, stream: true })
    stream.controller.abort()
    await expectHungUp(chatModel, before)
  })

  it('in the middle of a stream', async () => {
    const before = look(chatModel)
    chatModel.next((response) => beginChunks(response, hi))
    for await (const { choices } of await openai.chat.completions.create({ ...body, stream: true })) {
      expect(choices[0]?.delta.content).toBe('Hi')
      break
    }
    await expectHungUp(chatModel, before)
  })

  it('while its question is being embedded, and the model is never called', async () => {
    const before = [look(embeddingModel), look(chatModel)] as const
    const abort = new AbortController()
    const held = holdNext(embeddingModel)
    const { retrieval: _, ...searched } = body
    const asking = openai.chat.completions.create(searched, { signal: abort.signal })
    const left = expect(asking).rejects.toBeInstanceOf(OpenAI.APIUserAbortError)
    await held
    abort.abort()
    await left
    await expectHungUp(embeddingModel, before[0])
    expect(look(chatModel)).toEqual(before[1])
  })

  it('of embeddings', async () => {
    const before = look(embeddingModel)
    const abort = new AbortController()
    const held = holdNext(embeddingModel)
    const asking = openai.embeddings.create({ model: 'the-embedder', input: 'a' }, { signal: abort.signal })
    const left = expect(asking).rejects.toBeInstanceOf(OpenAI.APIUserAbortError)
    await held
    abort.abort()
    await left
    await expectHungUp(embeddingModel, before)
  })

  it('and a client that stays connected ends none', async () => {
    const before = look(chatModel)
    chatModel.next(sendChunks(hi, chunk({}, 'stop')))
    chatModel.next(sendJson(completion({ content: 'Hi' })))
    for await (const _ of await openai.chat.completions.create({ ...body, stream: true }));
    await openai.chat.completions.create(body)
    expect(look(chatModel)).toEqual({ hungUp: before.hungUp, calls: before.calls + 2 })
  })
})

describe('embeddings of a model’s server', () => {
  it('are requested as numbers, and encoded for the client', async () => {
    embeddingModel.next(sendJson({ object: 'list', data: [{ index: 0, embedding: [0.5, -2] }], vendor_only: 1 }))
    const list = await openai.embeddings.create({ model: 'the-embedder', input: 'a', user: 'u' })
    expect([...(list.data[0]?.embedding ?? [])]).toEqual([0.5, -2])
    expect(list).toHaveProperty('vendor_only', 1)
    expect(embeddingModel.calls.at(-1)?.body).toEqual({
      model: 'the-embedder',
      input: 'a',
      user: 'u',
      encoding_format: 'float',
    })
  })

  it('that fail keep their status and are not retried', async () => {
    const before = look(embeddingModel)
    embeddingModel.next(sendJson({}, 429, { 'retry-after': '7' }))
    const error: unknown = await openai.embeddings.create({ model: 'the-embedder', input: 'a' }).catch((error) => error)
    expect(error).toMatchObject({ status: 429, code: 'model_rate_limited' })
    expect(Object(error).headers.get('retry-after')).toBe('7')
    expect(look(embeddingModel).calls).toBe(before.calls + 1)
  })
})

it('a model without output for 5 s: headers first, then the failure in the stream', async () => {
  let fail = () => {}
  chatModel.next((response) => {
    fail = () => response.writeHead(503).end()
  })
  const stream = await openai.chat.completions.create({ ...body, stream: true })
  fail()
  const read = async () => {
    for await (const chunk of stream) throw new Error(`a chunk: ${chunk.id}`)
  }
  await expect(read()).rejects.toMatchObject({ code: 'model_failed' })
})

it('503 while all slots are taken: the client retries by itself, and gets an answer', async () => {
  const busy = await testApp({ environment: { ...environment, MAX_STREAMS: '1' } })
  onTestFinished(busy.close)
  const statuses: number[] = []
  const countedFetch: typeof fetch = async (...request) => {
    const response = await fetch(...request)
    statuses.push(response.status)
    return response
  }
  const client = connect(await busy.listen(), busy.alice).withOptions({ fetch: countedFetch, maxRetries: 5 })
  let end = () => {}
  chatModel.next((response) => {
    beginChunks(response, hi)
    end = () => response.end('data: [DONE]\n\n')
  })
  chatModel.next(sendJson(completion({ content: 'Second' })))
  const first = await client.chat.completions.create({ ...body, stream: true })
  const refused = await client.chat.completions.create(body, { maxRetries: 0 }).catch((error: unknown) => error)
  expect(refused).toMatchObject({ status: 503, code: 'too_many_streams', type: 'server_error' })
  expect(Object(refused).headers.get('x-should-retry')).toBeNull()
  expect(Object(refused).headers.get('retry-after')).toBe('2')
  const second = client.chat.completions.create(body)
  await expect.poll(() => statuses.slice(0, 3)).toEqual([200, 503, 503])
  end()
  for await (const _ of first);
  expect((await second).choices[0]?.message.content).toBe('Second')
  expect(statuses.at(-1)).toBe(200)
})

it('the end of the drain ends running calls, with an error in the stream or a 503', async () => {
  const before = look(chatModel)
  const held = holdNext(chatModel)
  const whole = expect(openai.chat.completions.create(body)).rejects.toMatchObject({
    status: 503,
    code: 'shutting_down',
  })
  await held
  chatModel.next((response) => beginChunks(response, hi))
  const stream = await openai.chat.completions.create({ ...body, stream: true })
  const read = async () => {
    for await (const { choices } of stream) if (choices[0]?.delta.content === 'Hi') void app.chat.drain(0)
  }
  await expect(read()).rejects.toMatchObject({ code: 'shutting_down' })
  await whole
  await expect.poll(() => chatModel.counts.hungUp).toBe(before.hungUp + 2)
})
