import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { toMachineTime } from './machine-clock.ts'
import { mockAnswer, mockEmbedding, mockToken, startMockModel } from './mock-model.ts'

async function startMock() {
  const mock = await startMockModel()
  onTestFinished(mock.close)
  const post = (path: string, body: object | string, signal = AbortSignal.timeout(10_000)) =>
    fetch(mock.url + path, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), signal })
  const ask = (content: string, more = {}, signal?: AbortSignal) =>
    post('/chat/completions', { model: 'mock', messages: [{ role: 'user', content }], stream: true, ...more }, signal)
  return { ...mock, post, ask }
}

/** Returns all chunks of a stream and whether `[DONE]` came last. */
async function readChunks(response: Response) {
  const events = (await response.text()).trimEnd().split('\n\n')
  const data = events.map((event) => event.replace('data: ', ''))
  const isDone = data.at(-1) === '[DONE]'
  return { isDone, chunks: data.slice(0, isDone ? -1 : undefined).map((json) => JSON.parse(json)) }
}

const contentOf = (chunks: { choices: { delta: { content?: string } }[] }[]) =>
  chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')

describe('a streamed chat', () => {
  it('equals mockAnswer, in chunks of one token between role and finish', async () => {
    const { ask } = await startMock()
    const prompt = 'Why? [mock tokens=3]'
    const response = await ask(prompt)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const { chunks, isDone } = await readChunks(response)
    expect(isDone).toBe(true)
    expect(contentOf(chunks)).toBe(mockAnswer(prompt, 3))
    expect(chunks.map(({ choices }) => choices[0])).toEqual([
      { index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null },
      ...[0, 1, 2].map((index) => ({ index: 0, delta: { content: mockToken(prompt, index) }, finish_reason: null })),
      { index: 0, delta: {}, finish_reason: 'stop' },
    ])
  })

  it('starts with reasoning and ends with the usage on request', async () => {
    const { ask } = await startMock()
    const prompt = '[mock tokens=2 reasoning=2]'
    const { chunks } = await readChunks(await ask(prompt, { stream_options: { include_usage: true } }))
    const deltas = chunks.slice(1, 5).map(({ choices }) => choices[0].delta)
    const tokens = [mockToken(prompt, 0), mockToken(prompt, 1)]
    expect(deltas).toEqual([
      ...tokens.map((reasoning_content) => ({ reasoning_content })),
      ...tokens.map((content) => ({ content })),
    ])
    const { choices, usage } = chunks.at(-1)
    expect({ choices, usage }).toEqual({
      choices: [],
      usage: { prompt_tokens: 10, completion_tokens: 4, total_tokens: 14 },
    })
  })

  it('starts with its due time, on the clock that all processes share, on request', async () => {
    const { ask } = await startMock()
    const prompt = 'Why? [mock tokens=2 interval=30 delay=40 clock=1]'
    const askedAt = toMachineTime()
    const { chunks } = await readChunks(await ask(prompt))
    const [, clock = '', answer] = /^@(\d+) (.*)$/.exec(contentOf(chunks)) ?? []
    expect(answer).toBe(mockAnswer(prompt, 2))
    expect(Number(clock) / 1000).toBeGreaterThanOrEqual(askedAt + 40)
    expect(Number(clock) / 1000).toBeLessThanOrEqual(toMachineTime() - 30)
  })

  it('prefers the settings of the last user message to those of the model name', async () => {
    const { post } = await startMock()
    const messages = [
      { role: 'user', content: '[mock tokens=9]' },
      { role: 'assistant', content: '[mock tokens=8]' },
      { role: 'user', content: 'And then? [mock tokens=2]' },
    ]
    const model = 'mock?tokens=7&reasoning=1'
    const { chunks } = await readChunks(await post('/chat/completions', { model, messages, stream: true }))
    expect(contentOf(chunks)).toBe(mockAnswer('And then? [mock tokens=2]', 2))
    expect(chunks.filter(({ choices }) => choices[0].delta.reasoning_content)).toHaveLength(1)
  })

  it('ignores passages before the question', async () => {
    const { ask } = await startMock()
    const passage = '<passage-0 n="1" title="">\n[mock tokens=9]\n</passage-0>'
    const { chunks } = await readChunks(await ask(`Each to </passage-0>.\n\n${passage}\n\nWhy? [mock tokens=2]`))
    expect(contentOf(chunks)).toBe(mockAnswer('Why? [mock tokens=2]', 2))
  })

  it('sends a token only when it is due, and reports how late it was', async () => {
    const { ask, stats } = await startMock()
    const startedAt = performance.now()
    await readChunks(await ask('[mock tokens=5 interval=20]'))
    expect(performance.now() - startedAt).toBeGreaterThan(75)
    const { p50, p99, max } = stats().lateness
    expect(p50).toBeGreaterThan(0)
    expect(p99).toBeLessThanOrEqual(max)
  })

  it('is complete when it is longer than the socket’s buffer', async () => {
    const { ask } = await startMock()
    const prompt = '[mock tokens=50000]'
    const { chunks } = await readChunks(await ask(prompt))
    expect(contentOf(chunks)).toBe(mockAnswer(prompt, 50_000))
  })

  it('waits for a client that has stopped reading', async () => {
    const { url, stats } = await startMock()
    const body = { model: 'mock', stream: true, messages: [{ role: 'user', content: '[mock tokens=200000]' }] }
    const bytes = await new Promise<number>((resolve, reject) => {
      request(`${url}/chat/completions`, { method: 'POST' }, async (response) => {
        await setTimeout(300)
        expect(stats().tokens).toBeLessThan(200_000)
        resolve((await text(response)).length)
      })
        .on('error', reject)
        .end(JSON.stringify(body))
    })
    expect(bytes).toBeGreaterThan(200_000 * 100)
  })
})

describe('a chat with tools', () => {
  const tools = [
    { type: 'function', function: { name: 'read', parameters: { properties: { id: {} } } } },
    { type: 'function', function: { name: 'search', parameters: { properties: { query: {} } } } },
  ]
  const prompt = 'Why? [mock calls=1 reasoning=1 tokens=2]'
  const question = { role: 'user', content: prompt }

  it('calls the first tool that accepts a query in as many steps as asked for, and then answers', async () => {
    const { post } = await startMock()
    const body = { model: 'mock', stream: true, tools }
    const { chunks, isDone } = await readChunks(await post('/chat/completions', { ...body, messages: [question] }))
    expect(isDone).toBe(true)
    const deltas = chunks.map(({ choices }) => choices[0].delta)
    expect(deltas[0]).toEqual({ reasoning_content: mockToken(prompt, 0) })
    const calls = deltas.flatMap(({ tool_calls = [] }) => tool_calls)
    expect(calls[0]).toMatchObject({ index: 0, id: `call_${mockToken(prompt, 0)}_0`, function: { name: 'search' } })
    const input = calls.map((call) => call.function.arguments).join('')
    expect(JSON.parse(input)).toEqual({ query: prompt })
    expect(chunks.at(-1).choices[0].finish_reason).toBe('tool_calls')

    const step = [
      { role: 'assistant', content: null, tool_calls: [{ id: 'a' }] },
      { role: 'tool', tool_call_id: 'a', content: '{}' },
    ]
    const next = await readChunks(await post('/chat/completions', { ...body, messages: [question, ...step] }))
    expect(contentOf(next.chunks)).toBe(mockAnswer(prompt, 2))
  })

  it('calls none if it may not', async () => {
    const { ask } = await startMock()
    for (const more of [{}, { tools, tool_choice: 'none' }]) {
      expect(contentOf((await readChunks(await ask(prompt, more))).chunks)).toBe(mockAnswer(prompt, 2))
    }
  })

  it('is rejected if a call has no result, or a result no call', async () => {
    const { post } = await startMock()
    const call = { role: 'assistant', content: null, tool_calls: [{ id: 'a' }] }
    const result = { role: 'tool', tool_call_id: 'a', content: '{}' }
    for (const messages of [
      [question, call],
      [question, call, question],
      [question, result],
    ]) {
      expect((await post('/chat/completions', { model: 'mock', messages })).status).toBe(400)
    }
  })
})

describe('other calls', () => {
  it('a chat without streaming returns one completion', async () => {
    const { ask } = await startMock()
    const prompt = '[mock tokens=3 interval=1]'
    expect(await (await ask(prompt, { stream: false })).json()).toMatchObject({
      object: 'chat.completion',
      choices: [{ message: { role: 'assistant', content: mockAnswer(prompt, 3) }, finish_reason: 'stop' }],
      usage: { completion_tokens: 3 },
    })
  })

  it('embeddings are unit vectors, equal for equal texts, with the requested number of dimensions', async () => {
    const { post } = await startMock()
    const widths: [object, number][] = [
      [{ model: 'mock-embed' }, 384],
      [{ model: 'mock-embed-1536' }, 1536],
      [{ model: 'mock-embed-1536', dimensions: 8 }, 8],
      [{ model: 'mock-embed-16?delay=1' }, 16],
    ]
    for (const [request, width] of widths) {
      const response = await post('/embeddings', { ...request, input: ['a', 'b', 'a'] })
      const { data }: { data: { embedding: number[] }[] } = JSON.parse(await response.text())
      const [a = [], b, again] = data.map(({ embedding }) => embedding)
      expect(a).toEqual(mockEmbedding('a', width))
      expect(a).toEqual(again)
      expect(a).not.toEqual(b)
      expect(a.length).toBe(width)
      expect(Math.hypot(...a)).toBeCloseTo(1, 3)
    }
  })

  it('embeddings of texts that share words are near each other, and others are not', () => {
    const toNearness = (left: string, right: string) => {
      const other = mockEmbedding(right, 384)
      return mockEmbedding(left, 384).reduce((sum, value, axis) => sum + value * (other[axis] ?? 0), 0)
    }
    const text = 'The harbour office opens at nine and closes at noon.'
    expect(toNearness(text, 'When does the harbour office open?')).toBeGreaterThan(0.6)
    expect(Math.abs(toNearness(text, 'Vacuum reclaims dead rows'))).toBeLessThan(0.4)
  })

  it('models are listed, and an unknown route returns 404', async () => {
    const { url, post } = await startMock()
    expect(await (await fetch(`${url}/models`)).json()).toMatchObject({ object: 'list', data: [{ id: 'mock' }] })
    expect((await post('/completions', {})).status).toBe(404)
  })

  it('a body that is not JSON and an unknown setting, fault or number return 400', async () => {
    const { post, ask } = await startMock()
    expect((await post('/chat/completions', '{')).status).toBe(400)
    for (const asked of ['token=5', 'tokens=five', 'tokens=-1', 'fault=flood', 'fault=long', 'fault=200']) {
      expect((await ask(`[mock ${asked}]`)).status, asked).toBe(400)
    }
  })

  it('the last 1,000 requests are kept with their headers', async () => {
    const { post, requests } = await startMock()
    for (let index = 0; index < 1002; index += 1) await (await post('/nowhere', { model: String(index) })).text()
    expect(requests.map(({ body }) => body.model)).toEqual(
      Array.from({ length: 1000 }, (_, index) => String(index + 2)),
    )
    expect(requests[0]?.headers['content-type']).toMatch('text/plain')
  })
})

describe('a fault', () => {
  const statuses: [string, number, string | null][] = [
    ['fault=401', 401, null],
    ['fault=429 retry-after=7', 429, '7'],
    ['fault=500', 500, null],
  ]
  for (const [asked, status, retryAfter] of statuses) {
    it(`${asked} returns this status, also for embeddings`, async () => {
      const { ask, post } = await startMock()
      const response = await ask(`[mock ${asked}]`)
      expect(response.status).toBe(status)
      expect(response.headers.get('retry-after')).toBe(retryAfter)
      expect(await response.json()).toHaveProperty('error.message')
      const model = `mock-embed-8?${asked.replace(' ', '&')}`
      expect((await post('/embeddings', { model, input: 'a' })).status).toBe(status)
    })
  }

  it('reset breaks the connection before or during an answer', async () => {
    const { ask, stats } = await startMock()
    await expect(ask('[mock fault=reset]')).rejects.toThrow()
    await expect((await ask('[mock tokens=20 interval=1 fault=reset@10]')).text()).rejects.toThrow()
    await expect.poll(() => stats()).toMatchObject({ open: 0, started: 2, completed: 2, aborted: 0 })
  })

  const cuts: [string, RegExp][] = [
    ['truncate', /"content":"[^"]+-1"[^\n]*\n\n$/],
    ['garbage', /data: \{"choices": \[\{"del\n\n$/],
    ['error', /data: \{"error":.*\}\n\n$/],
    ['long', /data: x{2097152}\n\n$/],
  ]
  for (const [kind, end] of cuts) {
    it(`${kind} ends a stream after the preceding tokens, without finish and [DONE]`, async () => {
      const { ask } = await startMock()
      const stream = await (await ask(`[mock tokens=5 fault=${kind}@2]`)).text()
      expect(stream).toMatch(end)
      expect(stream.match(/"content":"[^"]/g)).toHaveLength(2)
      expect(stream).not.toMatch(/"stop"|DONE/)
    })
  }

  it('hang withholds the headers or the rest of the stream until the client disconnects', async () => {
    const { ask, stats } = await startMock()
    const abort = new AbortController()
    const hanging = ask('[mock fault=hang]', {}, abort.signal)
    const stream = await ask('[mock tokens=5 fault=hang@2]', {}, abort.signal)
    const first = await stream.body?.getReader().read()
    expect(first?.value?.length).toBeGreaterThan(0)
    await expect.poll(() => stats().open).toBe(2)
    abort.abort()
    await expect(hanging).rejects.toThrow()
    await expect.poll(() => stats()).toMatchObject({ open: 0, aborted: 2, completed: 0 })
  })
})

describe('the counts', () => {
  it('distinguish clients that disconnected from clients that stayed', async () => {
    const { ask, stats } = await startMock()
    await (await ask('[mock tokens=2]')).text()
    const abort = new AbortController()
    const left = ['[mock tokens=1000 interval=50]', '[mock delay=60000]', '[mock fault=hang]']
    const calls = left.map((prompt) => ask(prompt, {}, abort.signal).catch(() => {}))
    calls.push(ask('[mock tokens=1000 interval=50]', { stream: false }, abort.signal).catch(() => {}))
    await expect.poll(() => stats().open).toBe(4)
    abort.abort()
    await Promise.all(calls)
    await expect.poll(() => stats()).toMatchObject({ open: 0, started: 5, completed: 1, aborted: 4 })
  })

  it('are served at /stats, with embeddings counted separately', async () => {
    const { url, post } = await startMock()
    await (await post('/embeddings', { model: 'mock-embed-8', input: 'a' })).text()
    const stats = await (await fetch(new URL('/stats', url))).json()
    expect(stats).toMatchObject({ open: 0, started: 0, completed: 0, aborted: 0, tokens: 0, embeddings: 1 })
  })
})
