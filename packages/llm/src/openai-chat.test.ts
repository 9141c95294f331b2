import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { createBrotliCompress, createDeflate, createDeflateRaw, createGzip } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { createHttpClient } from './http/http-client.ts'
import type { AnswerEvent, ChatRequest, FinishReason, LlmErrorCode } from './llm.ts'
import { createOpenAiChat } from './openai-chat.ts'
import { startHttpServer, startTcpServer } from './test-server.ts'

/** Returns the events of all batches as one list. */
async function* flatten<T>(batches: AsyncIterable<T[]>): AsyncGenerator<T, undefined> {
  for await (const batch of batches) yield* batch
}

const text = (...texts: string[]): AnswerEvent[] => texts.map((text) => ({ type: 'text-delta', text }))
const reasoning = (...texts: string[]): AnswerEvent[] => texts.map((text) => ({ type: 'reasoning-delta', text }))
const finish = (
  finishReason: FinishReason,
  inputTokens: number,
  outputTokens: number,
  cachedInputTokens?: number,
  reasoningTokens?: number,
): AnswerEvent[] => {
  const cached = cachedInputTokens === undefined ? {} : { cachedInputTokens }
  const reasoned = reasoningTokens === undefined ? {} : { reasoningTokens }
  return [{ type: 'finish', finishReason, usage: { inputTokens, outputTokens, ...cached, ...reasoned } }]
}

const vendors: Record<string, AnswerEvent[]> = {
  openai: [...text('A pooler', ' lends', ' connections — naïvely put, 汉字 🙂', '.'), ...finish('stop', 19, 10, 0, 0)],
  ollama: [...reasoning('The user asks', ' about Ä.'), ...text('Ä is', ' a vowel.'), ...finish('stop', 14, 23)],
  vllm: [...reasoning('9.8 is', ' larger.'), ...text('9.8', ' 更大', '。'), ...finish('length', 21, 20)],
  'llama-cpp': [...reasoning('Short'), ...text('Oui', ' – 👍'), ...finish('stop', 44, 6, 0)],
  groq: [...reasoning('Okay', ', count.'), ...text('Three', ' “r”s'), ...finish('stop', 17, 12)],
  mistral: [...text('Bonjour', ', ça va'), ...finish('length', 13, 8)],
  'mistral-reasoning': [...reasoning('2 and 2', ' make 4.'), ...text('Vier', ' – four'), ...finish('stop', 10, 46)],
  gemini: [...text('Two lines:\n', '\tone "quoted" \\ and 😀'), ...finish('stop', 5, 12)],
  deepseek: [...reasoning('First', ', a check.'), ...text('Yes', '.'), ...finish('stop', 11, 37, 0, 33)],
  openrouter: [...reasoning('Hmm.'), ...text('Sure', ', vas-y'), ...finish('stop', 20, 5)],
  anthropic: [...text('Hello', ' there'), ...finish('length', 8, 4)],
}

/** What the end of each stream says of its response. */
const responses: Record<string, { model: string; id: string }> = {
  anthropic: { model: 'claude-sonnet-4-5', id: 'msg_01fixture' },
  deepseek: { model: 'deepseek-reasoner', id: 'f1fixture' },
  gemini: { model: 'gemini-2.5-flash', id: 'gefixture' },
  groq: { model: 'qwen/qwen3-32b', id: 'chatcmpl-3556fixture' },
  'llama-cpp': { model: 'any', id: 'chatcmpl-llamafixture' },
  'mistral-reasoning': { model: 'magistral-medium-2507', id: '5319fixture' },
  mistral: { model: 'mistral-small-latest', id: '5319fixture' },
  ollama: { model: 'qwen3:8b', id: 'chatcmpl-730' },
  openai: { model: 'gpt-4o-mini-2024-07-18', id: 'chatcmpl-B9Fixture' },
  openrouter: { model: 'openai/gpt-4o-mini', id: 'gen-1763800000-fixture' },
  vllm: { model: 'deepseek-ai/DeepSeek-R1-Distill-Qwen-7B', id: 'chatcmpl-4fixture' },
}

const delta = (content: string) => `data: {"choices":[{"index":0,"delta":{"content":${JSON.stringify(content)}}}]}\n\n`
const stop = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
const done = 'data: [DONE]\n\n'
const finished: AnswerEvent = { type: 'finish', finishReason: 'stop' }

function createChat(url: string, { firstByteTimeoutMs = 10_000, idleTimeoutMs = 10_000 } = {}) {
  return createOpenAiChat(createHttpClient({ baseUrl: url, firstByteTimeoutMs, idleTimeoutMs }), 'the-model')
}

function ask(signal = new AbortController().signal): ChatRequest {
  return { messages: [{ role: 'user', content: 'the-question' }], passages: [], signal }
}

async function readAll(stream: Promise<AsyncIterable<AnswerEvent[]>>): Promise<AnswerEvent[]> {
  const events: AnswerEvent[] = []
  for await (const batch of await stream) events.push(...batch)
  return events
}

const collect = (url: string, deadlines = {}) => readAll(createChat(url, deadlines).stream(ask()))

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

const isError = (code: LlmErrorCode) => expect.objectContaining({ name: 'LlmError', code })

/** Cuts at pseudo-random positions, the same ones in every run. */
function cutAtRandom(bytes: Buffer, seed: number): Buffer[] {
  const parts: Buffer[] = []
  let state = seed
  for (let start = 0; start < bytes.length; ) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    const length = 1 + ((state >>> 16) % 97)
    parts.push(bytes.subarray(start, start + length))
    start += length
  }
  return parts
}

describe('the stream of a vendor', () => {
  for (const [vendor, events] of Object.entries(vendors)) {
    const bytes = readFileSync(new URL(`fixtures/${vendor}.sse`, import.meta.url))
    const cuts = {
      whole: [bytes],
      'byte by byte': Array.from(bytes, (byte) => Buffer.of(byte)),
      'at random places': cutAtRandom(bytes, 1),
      'at other random places': cutAtRandom(bytes, 2),
      'with CRLF': [Buffer.from(bytes.toString().replaceAll('\n', '\r\n'))],
    }
    for (const [how, parts] of Object.entries(cuts)) {
      it(`returns the same events for ${vendor}, sent ${how}`, async () => {
        const { url } = await startStream(...parts)
        const [finish] = events.slice(-1)
        expect(await collect(url)).toEqual([...events.slice(0, -1), { ...finish, response: responses[vendor] }])
      })
    }
  }
})

describe('the request', () => {
  it('contains model, messages and the usage option, but not the passages', async () => {
    const server = await startStream(delta('a'), stop, done)
    const passages = [{ n: 1, title: 'the-title', text: 'the-passage' }]
    await readAll(createChat(server.url).stream({ ...ask(), passages }))
    expect(JSON.parse(server.requests[0] ?? '')).toEqual({
      model: 'the-model',
      messages: [{ role: 'user', content: 'the-question' }],
      stream: true,
      stream_options: { include_usage: true },
    })
  })

  it('contains images before their text, read one after the other for each call', async () => {
    const server = await startStream(delta('a'), stop, done)
    let reading = 0
    const read = async () => {
      reading += 1
      expect(reading).toBe(1)
      await setImmediate()
      reading -= 1
      return 'data:image/png;base64,AAAA'
    }
    const image = { type: 'image_url', image_url: { url: await read() } }
    const messages: ChatRequest['messages'] = [
      { role: 'user', content: 'What?', images: [read, read] },
      { role: 'assistant', content: 'A cat.' },
      { role: 'user', content: '', images: [read] },
    ]
    await readAll(createChat(server.url).stream({ ...ask(), messages }))
    expect(JSON.parse(server.requests[0] ?? '').messages).toEqual([
      { role: 'user', content: [image, image, { type: 'text', text: 'What?' }] },
      { role: 'assistant', content: 'A cat.' },
      { role: 'user', content: [image] },
    ])
  })

  it('is not sent if an image cannot be read', async () => {
    const server = await startStream(delta('a'), stop, done)
    const images = [() => Promise.reject(new Error('gone'))]
    const request = { ...ask(), messages: [{ role: 'user' as const, content: 'What?', images }] }
    await expect(createChat(server.url).stream(request)).rejects.toThrow('gone')
    expect(server.requests).toEqual([])
  })

  it('omits the usage option for a vendor that rejects it, and remembers this', async () => {
    const server = await startHttpServer((response) => {
      if (server.requests.at(-1)?.includes('stream_options'))
        response.writeHead(422).end('{"detail":"extra_forbidden"}')
      else beginStream(response).end(delta('a') + stop + done)
    })
    const chat = createChat(server.url)
    for (let count = 0; count < 2; count += 1) {
      expect(await readAll(chat.stream(ask()))).toEqual([...text('a'), finished])
    }
    expect(server.requests.map((body) => body.includes('stream_options'))).toEqual([true, false, false])
  })

  it('is not retried when a vendor that accepted the option rejects it later, nor after another 4xx', async () => {
    const statuses = [404, 200, 400]
    const server = await startHttpServer((response) => {
      const status = statuses[server.requests.length - 1] ?? 500
      if (status === 200) beginStream(response).end(delta('a') + stop + done)
      else response.writeHead(status).end()
    })
    const chat = createChat(server.url)
    await expect(chat.stream(ask())).rejects.toEqual(isError('model_rejected'))
    await readAll(chat.stream(ask()))
    await expect(chat.stream(ask())).rejects.toEqual(isError('model_rejected'))
    expect(server.requests.length).toBe(3)
  })
})

describe('a stream that ends', () => {
  const wholeAnswers = {
    'with [DONE]': delta('a') + stop + done,
    'after finish_reason, without [DONE]': delta('a') + stop,
    'with [DONE] that has no line break': `${delta('a')}${stop}data: [DONE]`,
    'with a finish_reason whose event has no blank line': delta('a') + stop.trimEnd(),
    'with bytes after [DONE]': `${delta('a')}${stop}${done}data: {"metadata":1}\n\n${delta('b')}`,
    'with a byte order mark at the start': `\uFEFF${delta('a')}${stop}${done}`,
    'with data that has no space after the colon': (delta('a') + stop + done).replaceAll('data: ', 'data:'),
    'after empty, null and unknown deltas': `data: {}\n\ndata: {"choices":[{"delta":{"content":null}}]}\n\ndata: {"choices":[{"delta":null}]}\n\n${delta('')}data: {"choices":null,"error":null}\n\n${delta('a')}${stop}${done}`,
  }
  for (const [how, stream] of Object.entries(wholeAnswers)) {
    it(`${how} is complete`, async () => {
      const { url } = await startStream(stream)
      expect(await collect(url)).toEqual([...text('a'), finished])
    })
  }

  it('with a refusal shows it as text, and why', async () => {
    const refusal = (piece: string) => `data: {"choices":[{"delta":{"content":null,"refusal":"${piece}"}}]}\n\n`
    const { url } = await startStream(refusal('I cannot') + refusal(' help.') + stop + done)
    const refused: AnswerEvent = { type: 'finish', finishReason: 'content-filter' }
    expect(await collect(url)).toEqual([...text('I cannot'), ...text(' help.'), refused])
  })

  it('without finish_reason but with [DONE] finishes as other', async () => {
    const { url } = await startStream(delta('a') + done)
    expect(await collect(url)).toEqual([...text('a'), { type: 'finish', finishReason: 'other' }])
  })

  it('with a lost connection after finish_reason is complete', async () => {
    const { url } = await startHttpServer((response) => {
      beginStream(response).write(`${delta('a')}${stop}data: {"choices":[],"us`, () => response.destroy())
    })
    expect(await collect(url)).toEqual([...text('a'), finished])
  })

  it('with only a finish_reason is complete before the idle deadline, with the usage', async () => {
    const usage = 'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
    const { url } = await startHttpServer(async (response) => {
      beginStream(response).write(delta('a') + stop)
      await setTimeout(100)
      response.write(usage)
    })
    expect(await collect(url, { idleTimeoutMs: 3_600_000 })).toEqual([...text('a'), ...finish('stop', 1, 2)]) // longer than a test may run
  })

  const reasons: [string, FinishReason][] = [
    ['stop', 'stop'],
    ['length', 'length'],
    ['content_filter', 'content-filter'],
    ['tool_calls', 'tool-calls'],
    ['function_call', 'tool-calls'],
    ['constructor', 'other'],
  ]
  for (const [reason, finishReason] of reasons) {
    it(`with ${reason} finishes as ${finishReason}`, async () => {
      const { url } = await startStream(stop.replace('stop', reason) + done)
      expect(await collect(url)).toEqual([{ type: 'finish', finishReason }])
    })
  }
})

describe('a response that is not a stream', () => {
  const json = (body: unknown) =>
    startHttpServer((response) => {
      response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body))
    })

  it('returns the events of a whole completion', async () => {
    const message = { role: 'assistant', content: 'Hi 🙂', reasoning_content: 'So?' }
    const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
    const { url } = await json({ object: 'chat.completion', choices: [{ message, finish_reason: 'length' }], usage })
    expect(await collect(url)).toEqual([...reasoning('So?'), ...text('Hi 🙂'), ...finish('length', 3, 2)])
  })

  const completion = { object: 'chat.completion', choices: [{ message: { content: 'a' }, finish_reason: 'stop' }] }
  const lines = (delta('a') + stop).replaceAll('data: ', '').replaceAll('\n\n', '\n')
  const formats = {
    'an event stream': delta('a') + stop + done,
    'newline-delimited JSON': lines,
    'newline-delimited JSON with CRLF and [DONE]': `${lines.replaceAll('\n', '\r\n')}[DONE]\r\n`,
    'a completion': JSON.stringify(completion),
    'a completion followed by [DONE]': `${JSON.stringify(completion)}\n\n${done}`,
    'a completion of several lines': `\n${JSON.stringify(completion, null, 2)}\n`,
    'a completion of several lines followed by [DONE]': `${JSON.stringify(completion, null, '\t')}\n${done}`,
    'a completion in an event': `data: ${JSON.stringify(completion)}\n\n${done}`,
  }
  const labels = ['application/json', 'application/x-ndjson', 'text/plain', 'text/event-stream', 'text/html', undefined]
  for (const [format, body] of Object.entries(formats)) {
    it(`reads ${format}, however it is labelled and cut`, async () => {
      for (const label of labels) {
        for (const size of label ? [10_000] : [10_000, 1, 7]) {
          const { url } = await startHttpServer(async (response) => {
            response.writeHead(200, label ? { 'content-type': label } : {})
            for (let start = 0; start < body.length; start += size) {
              response.write(body.slice(start, start + size))
              await setImmediate()
            }
            response.end()
          })
          expect(await collect(url), `${label}`).toEqual([...text('a'), finished])
        }
      }
    })
  }

  it('yields newline-delimited JSON as it arrives', async () => {
    let goOn = () => {}
    const { url } = await startHttpServer((response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' }).write(lines.slice(0, lines.indexOf('\n') + 1))
      goOn = () => response.end(lines.slice(lines.indexOf('\n') + 1))
    })
    const events: AnswerEvent[] = []
    for await (const batch of await createChat(url).stream(ask())) {
      events.push(...batch)
      goOn()
    }
    expect(events).toEqual([...text('a'), finished])
  })

  it('reads a completion without a finish_reason, because its JSON is complete', async () => {
    const { url } = await json({ ...completion, choices: [{ message: { content: 'a' } }] })
    expect(await collect(url)).toEqual([...text('a'), { type: 'finish', finishReason: 'other' }])
  })

  it.each([
    ['gzip', createGzip],
    ['br', createBrotliCompress],
    ['deflate', createDeflate],
    ['deflate', createDeflateRaw],
  ])('decodes %s as it arrives', async (encoding, createEncoder) => {
    let goOn = () => {}
    const { url } = await startHttpServer((response) => {
      response.writeHead(200, { 'content-encoding': encoding })
      const encoder = createEncoder()
      encoder.pipe(response)
      encoder.write(delta('é汉🙂'))
      encoder.flush()
      goOn = () => encoder.end(stop + done)
    })
    const events: AnswerEvent[] = []
    for await (const batch of await createChat(url).stream(ask())) {
      events.push(...batch)
      goOn()
    }
    expect(events).toEqual([...text('é汉🙂'), finished])
  })

  it.each([
    ['an HTML page', '<!doctype html><p>the-secret\n{\n}'],
    ['an HTML page', '\uFEFF\n\n <html>the-secret'],
    ['an empty response', ''],
    ['an empty response', '\r\n\r\n'],
    ['text that is not JSON', 'OK the-secret'],
  ])('says that it was %s', async (kind, body) => {
    for (const label of ['text/html', 'text/event-stream', 'application/json']) {
      const { url } = await startHttpServer((response) => response.writeHead(200, { 'content-type': label }).end(body))
      const message = expect.stringContaining(`sent ${kind} instead of an answer`)
      await expect(collect(url)).rejects.toEqual(expect.objectContaining({ code: 'model_protocol', message }))
    }
  })

  it('fails with the error that a server sends with status 200', async () => {
    const { url } = await json({ error: { message: 'the-secret', code: 429 } })
    await expect(collect(url)).rejects.toEqual(isError('model_rate_limited'))
  })

  it('fails as model_protocol for JSON with another schema', async () => {
    const { url } = await json({ response: 'Hi' })
    await expect(collect(url)).rejects.toEqual(isError('model_protocol'))
  })

  it('fails as model_protocol for an HTML page', async () => {
    const { url } = await startHttpServer((response) => {
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html>\n<p>Sign in to the Wi-Fi</p>\n'.repeat(50))
    })
    await expect(collect(url)).rejects.toEqual(isError('model_protocol'))
  })
})

describe('a finish_reason', () => {
  const end = (reason: unknown) => `data: ${JSON.stringify({ choices: [{ delta: {}, finish_reason: reason }] })}\n\n`

  it.each([
    ['stop', 'stop'],
    ['end_turn', 'stop'],
    ['STOP', 'stop'],
    ['length', 'length'],
    ['max_tokens', 'length'],
    ['MAX_TOKENS', 'length'],
    ['content_filter', 'content-filter'],
    ['safety', 'content-filter'],
    ['SAFETY', 'content-filter'],
    ['refusal', 'content-filter'],
    ['tool_calls', 'tool-calls'],
    ['function_call', 'tool-calls'],
    ['tool_use', 'tool-calls'],
    ['a-new-one', 'other'],
  ])('%s is %s', async (reason, finishReason) => {
    const { url } = await startStream(delta('a') + end(reason))
    expect(await collect(url)).toEqual([...text('a'), { type: 'finish', finishReason }])
  })

  it.each(['', ' ', 'null', 'NULL', null, undefined, 0, {}])('%j does not end the answer', async (reason) => {
    const begin = delta('a') + end(reason)
    const { url } = await startStream(begin, delta('b') + end(reason) + stop)
    expect(await collect(url)).toEqual([...text('a', 'b'), finished])
    const whole = await startStream(begin + done)
    expect(await collect(whole.url)).toEqual([...text('a'), { type: 'finish', finishReason: 'other' }])
    for (const cut of [await startStream(begin), await startReset(begin)]) {
      const events: AnswerEvent[] = []
      const error = await readInto(events, createChat(cut.url).stream(ask()))
      expect(error).toHaveProperty('code', expect.stringMatching(/^model_(protocol|unreachable)$/))
      expect(events).toEqual(text('a'))
    }
  })

  /** Starts a server that resets its connection after `stream`. */
  const startReset = (stream: string) =>
    startHttpServer((response) => {
      beginStream(response).write(stream, () => response.socket?.resetAndDestroy())
    })

  it('that is empty leaves the idle deadline as it is, so a pause does not end the answer', async () => {
    const { url } = await startHttpServer(async (response) => {
      beginStream(response).write(delta('a').replace('}}', '},"finish_reason":""}'))
      await setTimeout(5500) // longer than the wait for the last events of a complete answer
      response.end(delta('b') + stop)
    })
    expect(await collect(url, { idleTimeoutMs: 30_000 })).toEqual([...text('a', 'b'), finished])
  })
})

describe('events without content', () => {
  it.each([
    'data: [DONE]',
    'data:[DONE]',
    'data:  [DONE]',
    'data: [DONE]  ',
    'data: [DONE]\t',
    'event: done\ndata: [DONE]',
  ])('end with %j', async (last) => {
    const { url } = await startHttpServer((response) => beginStream(response).write(`${delta('a')}${stop}${last}\n\n`))
    expect(await collect(url)).toEqual([...text('a'), finished]) // without a wait: the connection stays open
  })

  it.each([
    'data:',
    'data',
    'data: \ndata: ',
    ': comment',
    'retry: 3000',
    'id: 7',
    'event: ping',
    'event: ping\ndata: {}',
    'event: ping\ndata: {"type": "ping"}',
    'event: ping\ndata: now',
    'unknown: field',
  ])('produce no output: %j', async (silent) => {
    const { url } = await startStream([silent, delta('a').trim(), silent, stop.trim(), silent, done].join('\n\n'))
    expect(await collect(url)).toEqual([...text('a'), finished])
  })
})

describe('line ends and blanks', () => {
  const answer = delta('é汉🙂') + delta(' "b"\n') + stop + done
  it.each([
    ['CR', answer.replaceAll('\n', '\r')],
    ['CRLF', answer.replaceAll('\n', '\r\n')],
    ['two spaces after the colon', answer.replaceAll('data: ', 'data:  ')],
  ])('change no text: %s, in packets of one byte', async (_, stream) => {
    const { url } = await startStream(...Array.from(Buffer.from(stream), (byte) => Buffer.of(byte)))
    expect(await collect(url)).toEqual([...text('é汉🙂', ' "b"\n'), finished])
  })
})

describe('a stream that fails', () => {
  const failures: { what: string; stream: string; code: LlmErrorCode }[] = [
    { what: 'ends without finish_reason and [DONE]', stream: delta('a'), code: 'model_protocol' },
    { what: 'ends midway through an event', stream: `${delta('a')}data: {"choi`, code: 'model_protocol' },
    { what: 'ends before its first event', stream: '', code: 'model_protocol' },
    { what: 'has malformed JSON', stream: `${delta('a')}data: {"the-secret"\n\n${stop}`, code: 'model_protocol' },
    {
      what: 'has JSON that is not an object',
      stream: `${delta('a')}data: "the-secret"\n\n${stop}`,
      code: 'model_protocol',
    },
    {
      what: 'has a line of more than 1 MiB',
      stream: `${delta('a')}data: ${'x'.repeat(1_100_000)}`,
      code: 'model_protocol',
    },
    {
      what: 'has an error object',
      stream: `${delta('a')}data: {"error":{"message":"the-secret","type":"server_error"}}\n\n${done}`,
      code: 'model_failed',
    },
    { what: 'has an error text', stream: `${delta('a')}data: {"error":"the-secret"}\n\n`, code: 'model_failed' },
    {
      what: "has vLLM's older error object",
      stream: `${delta('a')}data: {"object":"error","message":"the-secret","code":400}\n\n${done}`,
      code: 'model_rejected',
    },
    { what: 'has a bare error', stream: `${delta('a')}{"error":{"message":"the-secret"}}\n`, code: 'model_failed' },
    {
      what: 'has a bare error of several lines',
      stream: `${delta('a')}${JSON.stringify({ error: { code: 401, message: 'the-secret' } }, null, 2)}\n`,
      code: 'model_unauthorized',
    },
    {
      what: 'has an error in the old format of llama.cpp',
      stream: `${delta('a')}error: {"code":500,"message":"the-secret"}\n\n`,
      code: 'model_failed',
    },
    {
      what: 'has a text about a quota',
      stream: `${delta('a')}data: {"error":"quota exceeded: the-secret"}\n\n`,
      code: 'model_rate_limited',
    },
    {
      what: 'has an error about the context',
      stream: `${delta('a')}data: {"error":{"code":"context_length_exceeded","message":"the-secret"}}\n\n`,
      code: 'context_length_exceeded',
    },
    {
      what: 'has an event named error without JSON about a key',
      stream: `${delta('a')}event: error\ndata: invalid api key the-secret\n\n`,
      code: 'model_unauthorized',
    },
    { what: 'is broken off by a page', stream: `${delta('a')}<html>the-secret</html>`, code: 'model_protocol' },
    {
      what: 'has an event named error',
      stream: `${delta('a')}event: error\ndata: the-secret\n\n`,
      code: 'model_failed',
    },
    {
      what: "has OpenRouter's error beside a choice",
      stream: `${delta('a')}data: {"error":{"code":502},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}\n\n${done}`,
      code: 'model_failed',
    },
    {
      what: "ends with DeepSeek's insufficient_system_resource",
      stream: delta('a') + stop.replace('stop', 'insufficient_system_resource') + done,
      code: 'model_failed',
    },
    {
      what: 'has an error of code 429',
      stream: `${delta('a')}data: {"error":{"code":429}}\n\n`,
      code: 'model_rate_limited',
    },
    {
      what: 'has an error of type rate_limit_error',
      stream: `${delta('a')}event: error\ndata: {"error":{"type":"rate_limit_error"}}\n\n`,
      code: 'model_rate_limited',
    },
  ]
  for (const { what, stream, code } of failures) {
    it(`is ${code} when it ${what}; earlier text is returned and the vendor is not quoted`, async () => {
      const server = await startStream(stream)
      const events: AnswerEvent[] = []
      const error = await readInto(events, createChat(server.url).stream(ask()))
      expect(error).toEqual(isError(code))
      expect(events).toEqual(stream === '' ? [] : text('a'))
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('the-secret')
    })
  }

  it('is model_unreachable when the connection is reset midway', async () => {
    const { url } = await startHttpServer((response) => {
      beginStream(response).write(delta('a'), () => response.socket?.resetAndDestroy())
    })
    const events: AnswerEvent[] = []
    expect(await readInto(events, createChat(url).stream(ask()))).toEqual(isError('model_unreachable'))
  })

  it('is model_protocol when the HTTP chunks are malformed, without the bytes in the error', async () => {
    const { url } = await startTcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nthe-secret\r\n')
    })
    const error = await readInto([], createChat(url).stream(ask()))
    expect(error).toEqual(isError('model_protocol'))
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('the-secret')
  })

  it('closes its connection, even if the vendor would continue', async () => {
    const server = await startHttpServer((response) => beginStream(response).write(`${delta('a')}data: {\n\n`))
    await expect(collect(server.url)).rejects.toEqual(isError('model_protocol'))
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })

  it('is model_timeout when only comments and no events arrive', async () => {
    const { url } = await startHttpServer(async (response) => {
      beginStream(response)
      while (!response.destroyed) {
        response.write(': OPENROUTER PROCESSING\n\n')
        await setTimeout(5)
      }
    })
    await expect(collect(url, { firstByteTimeoutMs: 100 })).rejects.toEqual(isError('model_timeout'))
  })

  it('is model_timeout when the stream stalls, and the connection is closed', async () => {
    const server = await startHttpServer((response) => beginStream(response).write(delta('a')))
    const events: AnswerEvent[] = []
    expect(await readInto(events, createChat(server.url, { idleTimeoutMs: 1000 }).stream(ask()))).toEqual(
      isError('model_timeout'),
    )
    expect(events).toEqual(text('a'))
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })

  it('does not time out when all tokens together take longer than the idle deadline', async () => {
    const tokens = Array.from({ length: 15 }, (_, index) => String(index))
    const { url } = await startHttpServer(async (response) => {
      beginStream(response)
      for (const token of tokens) {
        response.write(delta(token))
        await setTimeout(120)
      }
      response.end(stop + done)
    })
    expect(await collect(url, { idleTimeoutMs: 1500 })).toEqual([...text(...tokens), finished])
  })

  it('is complete when it stalls after its finish_reason', async () => {
    const { url } = await startHttpServer((response) => beginStream(response).write(delta('a') + stop))
    expect(await collect(url, { idleTimeoutMs: 1000 })).toEqual([...text('a'), finished])
  })
})

describe('an event that is almost a plain text delta', () => {
  const head = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":1764028800,"model":"m",'
  const send = async (...events: string[]) => {
    const { url } = await startStream(...events.map((json) => `data: ${json}\n\n`), stop + done)
    return collect(url)
  }
  const choice = (delta: string, end = 'null') =>
    `"choices":[{"index":0,"delta":{${delta}},"logprobs":null,"finish_reason":${end}}]`

  it('is parsed with its other fields', async () => {
    expect(await send(`{${head}${choice('"content":"a"')},"usage":null}`)).toEqual([...text('a'), finished])
    expect(await send(`{${head}${choice('"content":"a \\"b\\" \\u00e9\\n"')}}`)).toEqual([
      ...text('a "b" é\n'),
      finished,
    ])
    expect(await send(`{${head}${choice('"content":"a","reasoning":"b"')}}`)).toEqual([
      ...reasoning('b'),
      ...text('a'),
      finished,
    ])
    expect(await send(`{${head}${choice('"content":"a"', '"length"')}}`)).toMatchObject([
      ...text('a'),
      { type: 'finish' },
    ])
    const usage = '"usage":{"prompt_tokens":3,"completion_tokens":1}'
    expect(await send(`{${head}${choice('"content":"a"')},${usage}}`)).toEqual([...text('a'), ...finish('stop', 3, 1)])
  })

  it('is an error when it reports one', async () => {
    const error = '"error":{"message":"overloaded","code":503}'
    await expect(send(`{${error},${head}${choice('"content":"a"')}}`)).rejects.toEqual(isError('model_failed'))
    await expect(send(`{${head}${choice('"content":"a"')},${error}}`)).rejects.toEqual(isError('model_failed'))
    await expect(send(`{${head}${choice('"content":"a"', '"error"')}}`)).rejects.toEqual(isError('model_failed'))
    await expect(send(`{${head}${choice('"content":"a"')}`)).rejects.toEqual(isError('model_protocol'))
  })
})

describe('the reader', () => {
  it('gets the stream with the headers, before the first token is generated', async () => {
    let begin = () => {}
    const { url } = await startHttpServer((response) => {
      beginStream(response)
      begin = () => response.end(delta('a') + stop + done)
    })
    const events = await createChat(url).stream(ask())
    begin()
    expect(await readAll(Promise.resolve(events))).toEqual([...text('a'), finished])
  })

  it('may take longer than the idle deadline between two events', async () => {
    const { url } = await startStream(delta('a') + delta('b'), delta('c'), stop + done)
    const events: AnswerEvent[] = []
    for await (const event of flatten(await createChat(url, { idleTimeoutMs: 500 }).stream(ask()))) {
      events.push(event)
      await setTimeout(700)
    }
    expect(events).toEqual([...text('a', 'b', 'c'), finished])
  })

  it('applies backpressure to a faster vendor', async () => {
    const total = 400
    let sent = 0
    const { url } = await startHttpServer(async (response) => {
      beginStream(response)
      for (; sent < total && !response.destroyed; sent += 1) {
        if (!response.write(delta('x'.repeat(200_000)))) await once(response, 'drain')
      }
      response.end(stop + done)
    })
    let characters = 0
    for await (const event of flatten(await createChat(url).stream(ask()))) {
      if (characters === 0) await untilSteady(() => sent)
      if (characters === 0) expect(sent).toBeLessThan(total / 2)
      if (event.type === 'text-delta') characters += event.text.length
    }
    expect(characters).toBe(total * 200_000)
  })

  const endings: Record<string, (batches: AsyncIterable<AnswerEvent[]>) => Promise<unknown>> = {
    'breaks out of the loop': async (batches) => {
      for await (const event of flatten(batches)) if (event.type === 'text-delta') break
    },
    'throws in the loop': async (batches) => {
      const loop = async () => {
        for await (const event of flatten(batches)) throw new Error(event.type)
      }
      await expect(loop()).rejects.toThrow('text-delta')
    },
    'returns before it has read': async (batches) => batches[Symbol.asyncIterator]().return?.(),
    'returns while it waits': async (batches) => {
      const iterator = batches[Symbol.asyncIterator]()
      await iterator.next()
      const waiting = expect(iterator.next()).rejects.toEqual(isError('model_unreachable'))
      await iterator.return?.()
      await waiting
    },
  }
  for (const [how, end] of Object.entries(endings)) {
    it(`closes the connection when it ${how}`, async () => {
      const server = await startHttpServer((response) => beginStream(response).write(delta('a')))
      await end(await createChat(server.url).stream(ask()))
      await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
    })
  }

  it('receives nothing after the abort, not even an end that had already arrived', async () => {
    const { url } = await startStream(delta('a') + delta('b') + stop + done)
    const abort = new AbortController()
    const events: AnswerEvent[] = []
    const loop = async () => {
      for await (const batch of await createChat(url).stream(ask(abort.signal))) {
        events.push(...batch)
        abort.abort('stopped')
      }
    }
    await expect(loop()).rejects.toBe('stopped')
    expect(events).toEqual(text('a', 'b'))
  })

  it('releases its connection for a later answer, even if bytes follow [DONE]', async () => {
    const server = await startHttpServer((response) => {
      beginStream(response).write(delta('a') + stop + done)
      void setTimeout(10).then(() => response.end())
    })
    const chat = createChat(server.url)
    const isReused = async () => {
      await readAll(chat.stream(ask()))
      return server.sockets.length < server.requests.length
    }
    await expect.poll(isReused).toBe(true) // its last bytes must have arrived
  })
})

/** Reads until the error and returns it. */
async function readInto(events: AnswerEvent[], stream: Promise<AsyncIterable<AnswerEvent[]>>): Promise<object> {
  try {
    for await (const batch of await stream) events.push(...batch)
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('the stream did not fail')
}

async function untilSteady(read: () => number): Promise<void> {
  for (let before = -1; before !== read(); await setTimeout(200)) before = read()
}

describe('tools', () => {
  const tools = [{ name: 'add', description: 'Adds', parameters: { type: 'object' } }]
  const toolCall = { toolCallId: 't', toolName: 'add', input: '{"a":1}' }

  async function send(request: Partial<ChatRequest>, ...chunks: string[]) {
    const { url, requests } = await startHttpServer((response) => beginStream(response).end(chunks.join('')))
    const events = await readAll(createChat(url).stream({ ...ask(), ...request }))
    return { body: JSON.parse(requests[0] ?? ''), events }
  }

  it('are offered with the calls so far and their results', async () => {
    const messages: ChatRequest['messages'] = [
      { role: 'user', content: 'What is 1 + 1?' },
      { role: 'assistant', content: '', toolCalls: [toolCall] },
      { role: 'tool', toolCallId: 't', content: '2' },
    ]
    const { body } = await send({ messages, tools }, delta('Two.'), stop, done)
    expect(body.tools).toEqual([{ type: 'function', function: tools[0] }])
    expect(body).not.toHaveProperty('tool_choice')
    expect(body.messages.slice(1)).toEqual([
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 't', type: 'function', function: { name: 'add', arguments: '{"a":1}' } }],
      },
      { role: 'tool', tool_call_id: 't', content: '2' },
    ])
  })

  it('may not be called in a step that must answer', async () => {
    expect((await send({ tools, mustAnswer: true }, stop, done)).body).toMatchObject({
      tool_choice: 'none',
      tools: [{}],
    })
    expect((await send({ tools: [] }, stop, done)).body).not.toHaveProperty('tools')
  })

  const chunk = (tool: object) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: [tool] } }] })}\n\n`

  it('are called even if the server says that the answer stopped', async () => {
    const call = chunk({ index: 0, id: 't', function: { name: 'add', arguments: '{"a":1}' } })
    expect((await send({ tools }, call, stop, done)).events).toEqual([
      { type: 'tool-input-start', toolCallId: 't', toolName: 'add' },
      { type: 'tool-input-delta', toolCallId: 't', delta: '{"a":1}' },
      { type: 'tool-call', ...toolCall },
      { type: 'finish', finishReason: 'tool-calls' },
    ])
  })

  it('are not called with an input that was cut off', async () => {
    const call = chunk({ index: 0, id: 't', function: { name: 'add', arguments: '{"a":' } })
    const { events } = await send({ tools }, call, stop.replace('"stop"', '"length"'), done)
    expect(events.at(-1)).toEqual({ type: 'finish', finishReason: 'length' })
    expect(events.some(({ type }) => type === 'tool-call')).toBe(false)
  })
})
