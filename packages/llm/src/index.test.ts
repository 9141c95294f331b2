import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { createLlm } from './index.ts'
import { startHttpServer } from './test-server.ts'

type Call = { path: string | undefined; key: string | undefined; model: string }

const options = { beforeCall: () => {}, firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000 }

/** Starts a server for both models that records who called which path. */
async function startVendor() {
  const calls: Call[] = []
  const note = ({ url, headers }: IncomingMessage) => {
    const { model }: { model: string } = JSON.parse(server.requests.at(-1) ?? '')
    calls.push({ path: url, key: headers.authorization, model })
  }
  const server = await startHttpServer((response, request) => {
    note(request)
    if (request.url?.endsWith('/embeddings')) response.end('{"data":[{"index":0,"embedding":[1]}]}')
    else response.setHeader('content-type', 'text/event-stream').end('data: [DONE]\n\n')
  })
  return { origin: new URL(server.url).origin, calls }
}

async function callBoth({ chat, embedder, close }: ReturnType<typeof createLlm>) {
  const { signal } = new AbortController()
  for await (const _ of await chat.stream({ messages: [{ role: 'user', content: 'a' }], passages: [], signal }));
  await embedder.embed(['a'])
  close()
}

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const rows = readme
  .split('\n')
  .filter((line) => /^\|.*`https?:/.test(line))
  .map((line) => Array.from(line.matchAll(/^\| \[([^\]]+)|`([^`]+)`/g), ([, name, code]) => name ?? code ?? ''))

describe('a model server in the README', () => {
  it('is one of eleven', () => {
    expect(rows.length).toBe(11)
  })

  it.each(rows)(
    '%s is asked below %s',
    async (_, baseUrl = '', chatModel = '', embeddingModel = 'of another server') => {
      const { origin, calls } = await startVendor()
      const { pathname } = new URL(baseUrl)
      await callBoth(
        createLlm({ ...options, baseUrl: origin + pathname, apiKey: 'the-key', chatModel, embeddingModel }),
      )
      const root = pathname.replace(/\/$/, '')
      expect(calls).toEqual([
        { path: `${root}/chat/completions`, key: 'Bearer the-key', model: chatModel },
        { path: `${root}/embeddings`, key: 'Bearer the-key', model: embeddingModel },
      ])
    },
  )
})

describe('an embedding model on a separate server', () => {
  it.each([
    ['its own key', { apiKey: 'embedding-key' }, 'Bearer embedding-key'],
    ['no key if it has none', {}, undefined],
  ])('gets %s', async (_, given, key) => {
    const [chat, embedding] = [await startVendor(), await startVendor()]
    const embeddingServer = { baseUrl: `${embedding.origin}/v1`, ...given }
    const models = { chatModel: 'a', embeddingModel: 'b', embeddingServer }
    await callBoth(createLlm({ ...options, ...models, baseUrl: `${chat.origin}/openai/v1`, apiKey: 'chat-key' }))
    expect(chat.calls).toEqual([{ path: '/openai/v1/chat/completions', key: 'Bearer chat-key', model: 'a' }])
    expect(embedding.calls).toEqual([{ path: '/v1/embeddings', key, model: 'b' }])
  })
})

describe('without a configured model', () => {
  const vendor = { ...options, baseUrl: 'http://127.0.0.1:9' }
  const named = createLlm({ ...vendor, chatModel: 'a', embeddingModel: 'b' })

  it('uses the fallback for each model that is not named', () => {
    expect(createLlm({ ...vendor, chatModel: 'c', fallback: named })).toMatchObject({
      chat: { name: 'c' },
      completions: { name: 'c' },
      embedder: { name: 'b' },
      embeddings: { name: 'b' },
    })
    expect(createLlm({ ...vendor, fallback: named })).toMatchObject({ chat: { name: 'a' }, embedder: { name: 'b' } })
  })

  it('throws without a fallback and names the variable to set', () => {
    expect(() => createLlm({ ...vendor, embeddingModel: 'b' })).toThrow(/^No chat model .* CHAT_MODEL/)
    expect(() => createLlm({ ...vendor, chatModel: 'a' })).toThrow(/^No embedding model .* EMBEDDING_MODEL/)
  })
})

describe('further chat models', () => {
  const server = { ...options, baseUrl: 'http://127.0.0.1:9/v1', maxAnswerTokens: 100, embeddingModel: 'e' }
  const ask = async (model: ReturnType<typeof createLlm>['chat'] | undefined) => {
    const { signal } = new AbortController()
    const events = await model?.stream({ messages: [{ role: 'user', content: 'a' }], passages: [], signal })
    for await (const _ of events ?? []);
  }

  it('are listed after the default one, each with its description', () => {
    const { chat, chatModels, completionModels } = createLlm({
      ...server,
      chatModel: 'a',
      chatModels: [
        { name: 'b', model: 'b', baseUrl: server.baseUrl, contextTokens: 5, maxAnswerTokens: 6 },
        {
          name: 'a',
          model: 'a',
          baseUrl: server.baseUrl,
          fallback: 'b',
          capabilities: { images: false, tools: false, reasoning: true },
        },
      ],
    })
    expect(chat).toBe(chatModels.get('a'))
    expect([...chatModels.values()]).toMatchObject([
      {
        name: 'a',
        fallback: 'b',
        maxAnswerTokens: 100,
        capabilities: { images: false, tools: false, reasoning: true },
      },
      {
        name: 'b',
        contextTokens: 5,
        maxAnswerTokens: 6,
        capabilities: { images: true, tools: true, reasoning: false },
      },
    ])
    expect([...completionModels.keys()]).toEqual(['a', 'b'])
  })

  it('are called on their own server, with their own key, name and limit', async () => {
    const [first, second] = [await startVendor(), await startVendor()]
    const { chatModels, close } = createLlm({
      ...server,
      baseUrl: `${first.origin}/v1`,
      apiKey: 'first-key',
      chatModel: 'a',
      chatModels: [{ name: 'b', model: 'vendor/b', baseUrl: `${second.origin}/v1`, apiKey: 'second-key' }],
    })
    for (const model of chatModels.values()) await ask(model)
    close()
    expect(first.calls).toEqual([{ path: '/v1/chat/completions', key: 'Bearer first-key', model: 'a' }])
    expect(second.calls).toEqual([{ path: '/v1/chat/completions', key: 'Bearer second-key', model: 'vendor/b' }])
  })

  it('share the connections of their server', async () => {
    const { url, sockets } = await startHttpServer((response) => {
      response.setHeader('content-type', 'text/event-stream').end('data: [DONE]\n\n')
    })
    const more = [
      { name: 'b', model: 'b', baseUrl: `${url}/` },
      { name: 'c', model: 'c', baseUrl: url, apiKey: 'another key' },
    ]
    const { chatModels, close } = createLlm({ ...server, baseUrl: url, chatModel: 'a', chatModels: more })
    for (const model of chatModels.values()) await ask(model)
    close()
    expect(sockets).toHaveLength(2)
  })

  it('cannot be called while beforeCall throws', async () => {
    const beforeCall = () => {
      throw new Error('a connection is held')
    }
    const more = [{ name: 'b', model: 'b', baseUrl: server.baseUrl }]
    const { chatModels } = createLlm({ ...server, beforeCall, chatModel: 'a', chatModels: more })
    for (const model of chatModels.values()) await expect(ask(model)).rejects.toThrow('a connection is held')
  })

  it('cannot have the name of the model without a key', () => {
    const fallback = createLlm({ ...server, chatModel: 'a' })
    const twice = [{ name: 'a', model: 'a', baseUrl: server.baseUrl }]
    expect(() => createLlm({ ...server, fallback, chatModels: twice })).toThrow('Two chat models are named a.')
  })
})
