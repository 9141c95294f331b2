import { readdirSync, readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createHttpClient } from './http/http-client.ts'
import type { LlmErrorCode, Usage } from './llm.ts'
import type { CompletionBody, CompletionRequest } from './openai-api.ts'
import { createOpenAiCompletions } from './openai-completions.ts'
import { startHttpServer } from './test-server.ts'
import { readUsage } from './usage.ts'

const chunk = (choice: object) => JSON.stringify({ id: 'c', choices: [{ index: 0, ...choice }] })
const a = chunk({ delta: { content: 'a' } })
const b = chunk({ delta: { content: 'b' } })
const stop = chunk({ delta: {}, finish_reason: 'stop' })
const usage = '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
const done = '[DONE]'
const toEvents = (...chunks: string[]) => chunks.map((data) => `data: ${data}\n\n`).join('')

const createCompletions = (baseUrl: string) =>
  createOpenAiCompletions(createHttpClient({ baseUrl, firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000 }), 'the-model')

function ask(more: object = {}, signal = new AbortController().signal): CompletionRequest {
  const body: CompletionBody = { messages: [{ role: 'user', content: 'the-question' }], ...more }
  return { body, passages: [{ n: 1, title: 'the-title', text: 'the-passage' }], signal }
}

function beginStream(response: ServerResponse): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  return response
}

/** Starts a server that streams `parts` one by one and then ends the response. */
function startStream(...parts: (string | Buffer)[]) {
  return startHttpServer(async (response) => {
    beginStream(response)
    for (const part of parts) {
      response.write(part)
      await setImmediate()
    }
    response.end()
  })
}

const startJson = (body: unknown) =>
  startHttpServer((response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
  )

/** Reads all chunks into `chunks`, including those before an error. */
async function readInto(chunks: string[], stream: Promise<AsyncIterable<string[]>>): Promise<string[]> {
  for await (const batch of await stream) chunks.push(...batch)
  return chunks
}

const collect = (url: string, more?: object) => readInto([], createCompletions(url).stream(ask(more)))
const isError = (code: LlmErrorCode) => expect.objectContaining({ name: 'LlmError', code })

describe('the request', () => {
  const more = {
    model: 'an-alias',
    tools: [{ type: 'function', function: { name: 'f', parameters: {} } }],
    response_format: { type: 'json_object' },
    n: 2,
    stop: ['\n'],
    temperature: null,
    vendor_only: { deep: [1] },
  }

  it('contains everything the client sent, with our model, but not the passages', async () => {
    const server = await startStream(toEvents(done))
    await collect(server.url, more)
    expect(JSON.parse(server.requests[0] ?? '')).toEqual({ ...ask(more).body, model: 'the-model', stream: true })
  })

  it('is not streamed when the client wants a whole completion', async () => {
    const server = await startJson({ choices: [] })
    await createCompletions(server.url).complete(ask(more))
    expect(JSON.parse(server.requests[0] ?? '')).toEqual({ ...ask(more).body, model: 'the-model', stream: false })
  })
})

describe('a completion', () => {
  it('is returned as the vendor sent it', async () => {
    const message = { role: 'assistant', content: null, tool_calls: [{ id: 't' }], reasoning_content: 'So?' }
    const completion = { id: 'c', choices: [{ index: 0, message, finish_reason: 'tool_calls' }], vendor_only: 1 }
    const { url } = await startJson(completion)
    expect(await createCompletions(url).complete(ask())).toEqual(completion)
  })

  it.each([
    ['model_failed', 'for an error with status 200', '{"error":{"message":"the-secret"}}'],
    ['model_protocol', 'for JSON with another schema', '{"response":"the-secret"}'],
    ['model_protocol', 'for an HTML page', '<!doctype html><p>the-secret'],
  ] as const)('fails as %s %s, without a word of the vendor', async (code, _, body) => {
    const { url } = await startHttpServer((response) => response.end(body))
    const error = await createCompletions(url)
      .complete(ask())
      .catch((error: unknown) => error)
    expect(error).toEqual(isError(code))
    expect(JSON.stringify(error, ['message'])).not.toContain('the-secret')
  })
})

describe('the stream of a vendor', () => {
  const files = readdirSync(new URL('fixtures/', import.meta.url)).filter((file) => file.endsWith('.sse'))

  it.each(files)('%s passes unchanged, wherever it is cut; a chunk without choices only on request', async (file) => {
    const text = readFileSync(new URL(`fixtures/${file}`, import.meta.url), 'utf8')
    const toOpenAi = (data: string) => data.replace('"model_length"', '"length"') // Mistral's term
    const sent = [...text.matchAll(/^data: ?(\{.*)$/gm)].map(([, data = '']) => toOpenAi(data))
    const isChoice = (data: string) => !/"choices": ?\[\]/.test(data)
    const isUsage = (data: string) => /"usage": ?\{/.test(data)
    const bytes = Buffer.from(text)
    const ways = [[bytes], Array.from(bytes, (byte) => Buffer.of(byte)), [Buffer.from(text.replaceAll('\n', '\r\n'))]]
    expect(sent.length).toBeGreaterThan(2)
    for (const parts of ways) {
      const { url } = await startStream(...parts)
      expect(await collect(url)).toEqual(sent.filter(isChoice))
      const options = { stream_options: { include_usage: true } }
      expect(await collect(url, options)).toEqual(sent.filter((data) => isChoice(data) || isUsage(data)))
    }
  })

  it('keeps chunks together that arrived together, and yields the first before the last is generated', async () => {
    let goOn = () => {}
    const { url } = await startHttpServer((response) => {
      beginStream(response).write(toEvents(a, b))
      goOn = () => response.end(toEvents(stop, done))
    })
    const batches: string[][] = []
    for await (const batch of await createCompletions(url).stream(ask())) {
      batches.push(batch)
      goOn()
    }
    expect(batches).toEqual([[a, b], [stop]])
  })

  it.each(files)('%s reports its usage, also if the client has not asked for it', async (file) => {
    const text = readFileSync(new URL(`fixtures/${file}`, import.meta.url), 'utf8')
    const { url } = await startStream(text)
    const reports: Usage[] = []
    const request = { ...ask(), onUsage: (usage: Usage) => void reports.push(usage) }
    const chunks = await readInto([], createCompletions(url).stream(request))
    const last = [...text.matchAll(/^data: ?(\{.*)$/gm)].map(([, data = '']) => readUsage(JSON.parse(data)))
    expect(reports.at(-1)).toEqual(last.findLast(Boolean))
    expect(chunks.filter((data) => /"choices": ?\[\]/.test(data))).toEqual([])
  })

  it("drops Azure's first chunk, which has no choices, even when the usage is requested", async () => {
    const { url } = await startStream(toEvents('{"choices":[],"prompt_filter_results":[]}', a, stop, usage, done))
    expect(await collect(url, { stream_options: { include_usage: true } })).toEqual([a, stop, usage])
  })

  it('keeps tool calls, reasoning, and texts that look like an error or an empty list', async () => {
    const deltas = [
      { role: 'assistant', reasoning_content: '{"error": "x"}' },
      { tool_calls: [{ index: 0, id: 't', function: { name: 'f', arguments: '{"choices": [], "error": 1}' } }] },
      { content: '"finish_reason": "stop"' },
      { vendor_only: { choices: [], error: null } },
    ]
    const chunks = [...deltas.map((delta) => chunk({ delta })), chunk({ delta: {}, finish_reason: 'tool_calls' })]
    const { url } = await startStream(toEvents(...chunks, done))
    expect(await collect(url)).toEqual(chunks)
  })

  it('is written as one line when an event has several', async () => {
    const { url } = await startStream(`data: {"choices":\ndata: [{"index":0}]}\n\n${toEvents(stop, done)}`)
    expect(await collect(url)).toEqual(['{"choices": [{"index":0}]}', stop])
  })
})

describe('a stream that ends', () => {
  it.each([
    ['with [DONE]', toEvents(a, stop, done)],
    ['with bytes after [DONE]', toEvents(a, stop, done, b)],
    ['after its finish_reason, without [DONE]', toEvents(a, stop)],
    ['without a blank line', toEvents(a, stop).trimEnd()],
  ])('%s is complete', async (_, stream) => {
    const { url } = await startStream(stream)
    expect(await collect(url)).toEqual([a, stop])
  })

  it('with a lost connection after its finish_reason is complete', async () => {
    const { url } = await startHttpServer((response) => {
      beginStream(response).write(toEvents(a, stop), () => response.destroy())
    })
    expect(await collect(url)).toEqual([a, stop])
  })

  it('releases its connection for the next request', async () => {
    const server = await startStream(toEvents(a, stop, done))
    const completions = createCompletions(server.url)
    const isReused = async () => {
      await readInto([], completions.stream(ask()))
      return server.sockets.length < server.requests.length
    }
    await expect.poll(isReused).toBe(true) // its last bytes must have arrived
  })
})

describe('a chunk without a finish_reason', () => {
  const empty = (value: unknown) => chunk({ delta: { content: 'a' }, finish_reason: value })

  it.each(['', 'null', null, undefined])('does not end the answer: %j', async (value) => {
    const { url } = await startStream(toEvents(empty(value), b))
    const chunks: string[] = []
    const error = await readInto(chunks, createCompletions(url).stream(ask())).catch((error: unknown) => error)
    expect(error).toEqual(isError('model_protocol'))
    expect(chunks).toEqual([empty(value === undefined ? value : null), b])
    const whole = await startStream(toEvents(empty(value), b, stop))
    expect(await collect(whole.url)).toEqual([empty(value === undefined ? value : null), b, stop])
  })

  it.each([
    ['end_turn', 'stop'],
    ['STOP', 'stop'],
    ['max_tokens', 'length'],
    ['safety', 'content_filter'],
    ['tool_use', 'tool_calls'],
    ['function_call', 'function_call'],
    ['a-new-one', 'a-new-one'],
  ])("has one after the vendor's term %s", async (term, reason) => {
    const { url } = await startStream(toEvents(a, chunk({ delta: {}, finish_reason: term })))
    expect(await collect(url)).toEqual([a, chunk({ delta: {}, finish_reason: reason })])
  })
})

describe('events without content', () => {
  it('are not forwarded', async () => {
    const silent = `: comment\n\ndata:\n\ndata\n\nretry: 10\n\nevent: ping\ndata: {"type": "ping"}\n\ndata: {"type":"ping"}\n\n`
    const { url } = await startStream(silent + toEvents(a) + silent + toEvents(stop) + silent, 'data:  [DONE] \n\n')
    expect(await collect(url)).toEqual([a, stop])
  })

  it('are no answer', async () => {
    const { url } = await startStream('event: ping\ndata: {"type": "ping"}\n\n')
    await expect(collect(url)).rejects.toEqual(isError('model_protocol'))
  })
})

describe('a stream that fails', () => {
  it.each([
    ['model_protocol', 'ends without finish_reason and [DONE]', toEvents(a), {}],
    ['model_protocol', 'ends when the second of two choices has not', toEvents(a, stop), { n: 2 }],
    ['model_protocol', 'has an event that is not JSON', `${toEvents(a)}data: the-secret\n\n`, {}],
    ['model_protocol', 'is an HTML page', '<p>the-secret</p>\n', {}],
    ['model_failed', 'has an error', toEvents(a, '{"error":{"message":"the-secret"}}'), {}],
    ['model_failed', 'has an event named error', `${toEvents(a)}event: error\ndata: {"message":"the-secret"}\n\n`, {}],
    ['model_failed', 'has a bare error', `${toEvents(a)}{"error":"the-secret"}\n`, {}],
    ['model_failed', 'has a text as an error', `${toEvents(a)}event: error\ndata: the-secret\n\n`, {}],
    ['model_failed', 'ends with a reason for a failure', toEvents(a, stop.replace('stop', 'abort')), {}],
    ['context_length_exceeded', 'has a long prompt', toEvents(a, '{"error":"exceeds the context size"}'), {}],
    ['model_rate_limited', 'has a rate limit', toEvents(a, '{"error":{"code":429}}'), {}],
  ] as const)('is %s when it %s; earlier chunks are kept', async (code, _, stream, more) => {
    const server = await startStream(stream)
    const chunks: string[] = []
    const error = await readInto(chunks, createCompletions(server.url).stream(ask(more))).catch(
      (error: unknown) => error,
    )
    expect(error).toEqual(isError(code))
    expect(JSON.stringify(error, ['message'])).not.toContain('the-secret')
    expect(chunks.slice(0, 1)).toEqual(stream.startsWith('<') ? [] : [a])
  })

  it('closes its connection, even if the vendor would continue', async () => {
    const server = await startHttpServer((response) => beginStream(response).write(`${toEvents(a)}data: {\n\n`))
    await expect(collect(server.url)).rejects.toEqual(isError('model_protocol'))
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })

  it.each([
    [401, 'model_unauthorized'],
    [422, 'model_rejected'],
    [429, 'model_rate_limited'],
    [503, 'model_failed'],
  ] as const)('rejects before it begins when the vendor responds with %s', async (status, code) => {
    const { url } = await startHttpServer((response) => response.writeHead(status, { 'retry-after': '7' }).end())
    await expect(createCompletions(url).stream(ask())).rejects.toMatchObject({ code, status, retryAfterSeconds: 7 })
  })
})

describe('a vendor that does not stream', () => {
  const tool = { id: 't', type: 'function', function: { name: 'f', arguments: '{}' } }
  const message = { role: 'assistant', content: 'Hi', tool_calls: [tool] }
  const completion = {
    id: 'c',
    object: 'chat.completion',
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage: { prompt_tokens: 3, completion_tokens: 2 },
  }
  const start = { id: 'c', object: 'chat.completion.chunk' }
  const delta = { ...message, tool_calls: [{ index: 0, ...tool }] }

  it('returns its completion as one chunk, and the usage as another on request', async () => {
    const { url } = await startJson(completion)
    const whole = { ...start, choices: [{ index: 0, finish_reason: 'stop', delta }] }
    expect((await collect(url)).map((json) => JSON.parse(json))).toEqual([whole])
    const chunks = await collect(url, { stream_options: { include_usage: true } })
    expect(chunks.map((json) => JSON.parse(json))).toEqual([whole, { ...start, choices: [], usage: completion.usage }])
  })

  it.each([
    ['on one line, labelled as a stream', JSON.stringify(completion)],
    ['on several lines', JSON.stringify(completion, null, 2)],
    ['followed by [DONE]', `${JSON.stringify(completion, null, 2)}\n\ndata: [DONE]\n\n`],
    ['in an event', `data: ${JSON.stringify(completion)}\n\n`],
  ])('may send it %s', async (_, body) => {
    const { url } = await startStream(body)
    const [chunk = '', ...others] = await collect(url)
    expect(JSON.parse(chunk)).toMatchObject({ ...start, choices: [{ delta, finish_reason: 'stop' }] })
    expect(others).toEqual([])
  })

  it('fails with the error that it sends with status 200', async () => {
    const { url } = await startJson({ error: { code: 429 } })
    await expect(collect(url)).rejects.toEqual(isError('model_rate_limited'))
  })
})

describe('an abort', () => {
  it.each(['stream', 'complete'] as const)(
    'of %s before the first byte closes the connection to the vendor',
    async (way) => {
      const abort = new AbortController()
      const server = await startHttpServer(() => abort.abort('left'))
      await expect(createCompletions(server.url)[way](ask({}, abort.signal))).rejects.toBe('left')
      await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
    },
  )

  it('midway closes it too', async () => {
    const abort = new AbortController()
    const server = await startHttpServer((response) => beginStream(response).write(toEvents(a)))
    const chunks: string[] = []
    const loop = async () => {
      for await (const batch of await createCompletions(server.url).stream(ask({}, abort.signal))) {
        chunks.push(...batch)
        abort.abort('left')
      }
    }
    await expect(loop()).rejects.toBe('left')
    expect(chunks).toEqual([a])
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })

  it('is not needed when the reader stops', async () => {
    const server = await startHttpServer((response) => beginStream(response).write(toEvents(a)))
    for await (const _ of await createCompletions(server.url).stream(ask())) break
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })
})
