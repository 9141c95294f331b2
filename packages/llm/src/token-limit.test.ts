import { describe, expect, it } from 'vitest'
import { createHttpClient } from './http/http-client.ts'
import type { ChatRequest } from './llm.ts'
import { createOpenAiChat } from './openai-chat.ts'
import { createOpenAiCompletions } from './openai-completions.ts'
import { startHttpServer } from './test-server.ts'
import { type TokenLimit, toTokenLimit } from './token-limit.ts'

const limit: TokenLimit = { name: 'max_tokens', tokens: 100 }
const stream = 'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
const messages: ChatRequest['messages'] = [{ role: 'user', content: 'Why?' }]

/** Starts a model server that rejects each request with one of these parameters. */
async function startServer(refused: string[] = []) {
  const server = await startHttpServer((response) => {
    const body: object = JSON.parse(server.requests.at(-1) ?? '')
    const status = refused.some((name) => name in body) ? 400 : 200
    response.writeHead(status, { 'content-type': 'text/event-stream' }).end(status === 200 ? stream : '')
  })
  const http = createHttpClient({ baseUrl: server.url, firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000 })
  const { signal } = new AbortController()
  const chat = createOpenAiChat(http, 'm', limit)
  const completions = createOpenAiCompletions(http, 'm', limit)
  return {
    ask: async () => {
      for await (const _ of await chat.stream({ messages, passages: [], signal }));
    },
    complete: async (more: object = {}) => {
      for await (const _ of await completions.stream({ body: { messages, ...more }, passages: [], signal }));
    },
    completeMetered: async (more: object = {}) => {
      const onUsage = () => {}
      for await (const _ of await completions.stream({ body: { messages, ...more }, passages: [], onUsage, signal }));
    },
    /** The limit and usage parameters of the requests so far. */
    sent: () =>
      server.requests.map((text) => {
        const { model: _, messages: __, stream: ___, ...parameters } = JSON.parse(text)
        return parameters
      }),
  }
}

const usage = { stream_options: { include_usage: true } }

describe('the limit of a chat', () => {
  it('is sent', async () => {
    const server = await startServer()
    await server.ask()
    expect(server.sent()).toEqual([{ ...usage, max_tokens: 100 }])
  })

  it.each([
    ['the limit', ['max_tokens'], usage],
    ['the usage option', ['stream_options'], { max_tokens: 100 }],
    ['both', ['max_tokens', 'stream_options'], {}],
  ])('is omitted with what a server rejects: %s; this is remembered', async (_, refused, accepted) => {
    const server = await startServer(refused)
    await server.ask()
    const tries = server.sent().length
    await server.ask()
    expect(server.sent().slice(tries - 1)).toEqual([accepted, accepted])
  })

  it('is omitted when a server rejects it later, for example when prompt and limit exceed its context', async () => {
    const refused: string[] = []
    const server = await startServer(refused)
    await server.ask()
    refused.push('max_tokens')
    await server.ask()
    await server.ask()
    expect(server.sent().map((body) => 'max_tokens' in body)).toEqual([true, true, false, false])
  })
})

describe('the limit of a completion', () => {
  it.each([
    ['ours, when the client sets none', {}, { max_tokens: 100 }],
    ['the client’s, when it is smaller', { max_tokens: 7 }, { max_tokens: 7 }],
    ['ours, when the client’s is larger', { max_tokens: 101 }, { max_tokens: 100 }],
    ['sent under the client’s parameter name', { max_completion_tokens: 5000 }, { max_completion_tokens: 100 }],
    ['sent under the server’s parameter name', { max_output_tokens: 7 }, { max_tokens: 7 }],
    ['ours beside null', { max_completion_tokens: null }, { max_completion_tokens: null, max_tokens: 100 }],
  ])('is %s', async (_, asked, sent) => {
    const server = await startServer()
    await server.complete(asked)
    expect(server.sent()).toEqual([sent])
  })

  it('is omitted for a server that rejects it, and this is remembered', async () => {
    const server = await startServer(['max_tokens'])
    await server.complete()
    await server.complete()
    expect(server.sent()).toEqual([{ max_tokens: 100 }, {}, {}])
  })

  it('is kept when the client set it, and its rejection is returned to the client', async () => {
    const server = await startServer(['max_tokens'])
    await expect(server.complete({ max_tokens: 7 })).rejects.toMatchObject({ status: 400 })
    expect(server.sent()).toEqual([{ max_tokens: 7 }])
  })
})

describe('the usage of a streamed completion', () => {
  const limits = { max_tokens: 100 }
  const both = { ...limits, ...usage }
  it.each([
    ['is requested', [], [both, both, both]],
    ['is requested without the limit', ['max_tokens'], [both, {}, usage, usage]],
    ['is omitted for a server that rejects it', ['stream_options'], [both, {}, usage, {}, limits]],
    ['is omitted with the limit', ['max_tokens', 'stream_options'], [both, {}, usage, {}, limits, {}]],
  ])('%s, and this is remembered', async (_, refused, sent) => {
    const server = await startServer(refused)
    for (let call = 0; call < 3; call += 1) await server.completeMetered()
    expect(server.sent()).toEqual(sent)
  })

  it('is requested beside the client’s own options', async () => {
    const server = await startServer()
    await server.completeMetered({ stream_options: { include_usage: false, other: 1 } })
    expect(server.sent()).toEqual([{ ...limits, stream_options: { include_usage: true, other: 1 } }])
  })
})

it.each([
  ['https://api.openai.com/v1', 'max_completion_tokens'],
  ['https://name.openai.azure.com/openai/v1', 'max_completion_tokens'],
  ['http://127.0.0.1:8080/v1', 'max_tokens'],
  ['https://notopenai.com/v1', 'max_tokens'],
])('the limit parameter of %s is %s', (url, name) => {
  expect(toTokenLimit(url, 1)).toEqual({ name, tokens: 1 })
})
