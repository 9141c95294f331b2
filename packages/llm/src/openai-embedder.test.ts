import { describe, expect, it } from 'vitest'
import { createHttpClient } from './http/http-client.ts'
import type { LlmErrorCode } from './llm.ts'
import { createOpenAiEmbedder } from './openai-embedder.ts'
import { startHttpServer } from './test-server.ts'

const deadlines = { firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000 }
const createEmbedder = (baseUrl: string, dimensions?: number) =>
  createOpenAiEmbedder(createHttpClient({ baseUrl, ...deadlines }), 'the-model', { dimensions })

const isError = (code: LlmErrorCode) => expect.objectContaining({ name: 'LlmError', code })

/** Starts a server that responds with the items that `makeData` returns for the texts. */
async function startEmbedding(makeData: (input: string[]) => unknown) {
  const server = await startHttpServer((response) => {
    const { input } = JSON.parse(server.requests.at(-1) ?? '')
    response.end(JSON.stringify({ object: 'list', data: makeData(input) }))
  })
  return server
}

describe('createOpenAiEmbedder', () => {
  it('puts the model’s prefixes before questions and texts, and names the vectors after that of texts', async () => {
    const server = await startHttpServer((response, _request, body) => {
      response.end(JSON.stringify({ data: JSON.parse(body).input.map(() => ({ embedding: [1, 2] })) }))
    })
    const http = createHttpClient({ baseUrl: server.url, ...deadlines })
    const create = (query?: string, document?: string) =>
      createOpenAiEmbedder(http, 'the-model', { prefixes: { query, document } })
    const embedder = create('query: ', 'passage: ')
    await embedder.embed(['tide', 'ebb'])
    await embedder.embedQuery('When?')
    const inputs = server.requests.map((request) => JSON.parse(request).input)
    expect(inputs).toEqual([['passage: tide', 'passage: ebb'], ['query: When?']])
    expect(embedder.name).toMatch(/^the-model#[0-9a-f]{8}$/)
    expect(create('other: ', 'passage: ').name).toBe(embedder.name)
    expect(create('query: ', 'text: ').name).not.toBe(embedder.name)
    expect(create('query: ').name).toBe('the-model')
  })

  it('asks for floats, and for dimensions only when they are set', async () => {
    const server = await startEmbedding(() => [{ index: 0, embedding: [1, 0] }])
    await createEmbedder(server.url).embed(['a'])
    await createEmbedder(server.url, 2).embed(['a'])
    const body = { model: 'the-model', input: ['a'], encoding_format: 'float' }
    expect(server.requests.map((request) => JSON.parse(request))).toEqual([body, { ...body, dimensions: 2 }])
  })

  it('has a name that identifies model and width', () => {
    expect(createEmbedder('http://127.0.0.1').name).toBe('the-model')
    expect(createEmbedder('http://127.0.0.1', 256).name).toBe('the-model@256')
  })

  it('counts the tokens of OpenAI’s models on any server, and of no other models', async () => {
    const http = createHttpClient({ baseUrl: 'http://127.0.0.1', ...deadlines })
    const load = async (model: string) =>
      (await createOpenAiEmbedder(http, model).loadTokenCounter?.())?.('hello world')
    expect(await load('text-embedding-3-large')).toBe(2)
    expect(await load('openai/text-embedding-ada-002')).toBe(2)
    expect([await load('my-text-embedding-3-large'), await load('nomic-embed-text')]).toEqual([undefined, undefined])
  })

  it('has no queue: a question is embedded while a hundred documents get no response', async () => {
    const server = await startHttpServer((response, _request, body) => {
      if (body.includes('When?')) response.end(JSON.stringify({ data: [{ embedding: [1, 2] }] }))
    })
    const embedder = createEmbedder(server.url)
    const leave = new AbortController()
    const documents = Array.from({ length: 100 }, (_, n) => embedder.embed([`text ${n}`], leave.signal))
    await expect.poll(() => server.requests.length).toBe(100)
    expect(await embedder.embedQuery('When?')).toBe('[1,2]')
    leave.abort()
    const results = await Promise.allSettled(documents)
    expect(new Set(results.map(({ status }) => status))).toEqual(new Set(['rejected']))
  })

  it('sends no request when there is no text', async () => {
    const server = await startEmbedding(() => [])
    expect(await createEmbedder(server.url).embed([])).toEqual([])
    expect(server.requests).toEqual([])
  })

  it('orders vectors by their index', async () => {
    const embed = (input: string[]) => input.map((text, index) => ({ index, embedding: [Number(text)] })).reverse()
    const { url } = await startEmbedding(embed)
    expect(await createEmbedder(url).embed(['5', '6', '7'])).toEqual([[5], [6], [7]])
  })

  it('orders vectors by their position when the index is missing, as Gemini omits 0', async () => {
    const { url } = await startEmbedding(() => [{ embedding: [5] }, { index: 1, embedding: [6] }])
    expect(await createEmbedder(url).embed(['5', '6'])).toEqual([[5], [6]])
  })

  it('sends 200 texts in batches of at most 96, one at a time, and keeps their order', async () => {
    let running = 0
    const server = await startHttpServer((response) => {
      running += 1
      expect(running).toBe(1)
      const { input } = JSON.parse(server.requests.at(-1) ?? '')
      setImmediate(() => {
        running -= 1
        response.end(
          JSON.stringify({ data: input.map((text: string, index: number) => ({ index, embedding: [Number(text)] })) }),
        )
      })
    })
    const numbers = Array.from({ length: 200 }, (_, index) => index)
    expect(await createEmbedder(server.url).embed(numbers.map(String))).toEqual(numbers.map((number) => [number]))
    expect(server.requests.map((request) => JSON.parse(request).input.length)).toEqual([96, 96, 8])
  })

  it.each([400, 413, 422])(
    'halves a batch that is rejected with %i, and does not try the larger size again',
    async (status) => {
      const server = await startHttpServer((response) => {
        const { input }: { input: string[] } = JSON.parse(server.requests.at(-1) ?? '')
        if (input.length > 10) response.writeHead(status).end()
        else response.end(JSON.stringify({ data: input.map((text, index) => ({ index, embedding: [Number(text)] })) }))
      })
      const embedder = createEmbedder(server.url)
      const numbers = Array.from({ length: 20 }, (_, index) => index)
      for (let count = 0; count < 2; count += 1) {
        expect(await embedder.embed(numbers.map(String))).toEqual(numbers.map((number) => [number]))
      }
      expect(server.requests.map((request) => JSON.parse(request).input.length)).toEqual([20, 10, 10, 10, 10])
    },
  )

  it('continues with whole batches after a text that is rejected on its own', async () => {
    const server = await startHttpServer((response) => {
      const { input }: { input: string[] } = JSON.parse(server.requests.at(-1) ?? '')
      if (input.includes('too long')) response.writeHead(400).end()
      else response.end(JSON.stringify({ data: input.map((_, index) => ({ index, embedding: [1] })) }))
    })
    const embedder = createEmbedder(server.url)
    await expect(embedder.embed(['too long', 'a', 'b', 'c'])).rejects.toEqual(isError('model_rejected'))
    await embedder.embed(['a', 'b', 'c', 'd'])
    expect(server.requests.map((request) => JSON.parse(request).input.length)).toEqual([4, 2, 1, 4])
  })

  it.each([401, 404, 429, 500])('sends one request when the response is %i', async (status) => {
    const server = await startHttpServer((response) => response.writeHead(status).end())
    await expect(createEmbedder(server.url).embed(['a', 'b'])).rejects.toMatchObject({ status })
    expect(server.requests.length).toBe(1)
  })

  const faults: Record<string, unknown> = {
    'one vector is missing': [{ index: 0, embedding: [1] }],
    'an index is duplicated': [0, 0].map((index) => ({ index, embedding: [1] })),
    'an index is out of range': [0, 2].map((index) => ({ index, embedding: [1] })),
    'the widths differ': [[1], [1, 2]].map((embedding, index) => ({ index, embedding })),
    'the vectors are empty': [[], []].map((embedding, index) => ({ index, embedding })),
    'a number is null': [[1], [null]].map((embedding, index) => ({ index, embedding })),
    'a vector is base64': ['AACAPw==', 'AACAPw=='].map((embedding, index) => ({ index, embedding })),
    'there is no list': { embedding: [1] },
  }
  for (const [what, data] of Object.entries(faults)) {
    it(`is model_protocol when ${what}`, async () => {
      const { url } = await startEmbedding(() => data)
      await expect(createEmbedder(url).embed(['a', 'b'])).rejects.toEqual(isError('model_protocol'))
    })
  }

  it('is model_protocol when a number exceeds a double', async () => {
    const { url } = await startHttpServer((response) => response.end('{"data":[{"index":0,"embedding":[1e999]}]}'))
    await expect(createEmbedder(url).embed(['a'])).rejects.toEqual(isError('model_protocol'))
  })

  it('is model_protocol when the vectors do not have the requested width', async () => {
    const { url } = await startEmbedding(() => [{ index: 0, embedding: [1, 2, 3] }])
    await expect(createEmbedder(url, 2).embed(['a'])).rejects.toEqual(isError('model_protocol'))
  })

  it('is model_protocol when the body is not JSON, and the error does not quote it', async () => {
    const { url } = await startHttpServer((response) => response.end('the-body'))
    const error = await createEmbedder(url)
      .embed(['a'])
      .catch((reason: unknown) => reason)
    expect(error).toEqual(isError('model_protocol'))
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('the-body')
  })

  it('is model_protocol when the body exceeds 32 MiB', async () => {
    const { url } = await startHttpServer((response) =>
      response.end(`{"data":[{"embedding":[1]}],"more":"${'x'.repeat(33 * 1024 * 1024)}"}`),
    )
    await expect(createEmbedder(url).embed(['a'])).rejects.toEqual(isError('model_protocol'))
  })

  it('stops between two batches when it is aborted', async () => {
    const abort = new AbortController()
    const server = await startEmbedding((input) => {
      abort.abort('stopped')
      return input.map((_, index) => ({ index, embedding: [1] }))
    })
    await expect(createEmbedder(server.url).embed(Array(200).fill('a'), abort.signal)).rejects.toBe('stopped')
    expect(server.requests.length).toBe(1)
  })
})

describe('a query', () => {
  const bodies: Record<string, [string, string]> = {
    'as the vendor wrote it': ['{"data":[{"embedding":[0.10,-2e-7,3],"index":0}]}', '[0.10,-2e-7,3]'],
    'printed with spaces': ['{"data": [{"index": 0, "embedding": [ 1, -2.50 ]}]}', '[1,-2.5]'],
    'of one number': ['{"data":[{"embedding":[-1]}]}', '[-1]'],
  }
  for (const [how, [body, json]] of Object.entries(bodies)) {
    it(`has a vector ${how}`, async () => {
      const { url } = await startHttpServer((response) => response.end(body))
      expect(await createEmbedder(url).embedQuery('a')).toBe(json)
    })
  }

  it.each(['[]', '[1,]', '[,1]', '[1 2]', '[1,null]', '["1"]', '[[1]]', '[01x]', '"AACAPw=="', '[1e999]'])(
    'is model_protocol when its vector is %s',
    async (vector) => {
      const { url } = await startHttpServer((response) => response.end(`{"data":[{"embedding":${vector}}]}`))
      await expect(createEmbedder(url).embedQuery('a')).rejects.toEqual(isError('model_protocol'))
    },
  )

  it('is model_protocol when its vector does not have the requested width', async () => {
    const { url } = await startEmbedding(() => [{ index: 0, embedding: [1, 2, 3] }])
    await expect(createEmbedder(url, 2).embedQuery('a')).rejects.toEqual(isError('model_protocol'))
  })

  it.each([400, 413, 422, 500])('that is rejected with %i as too long is shortened until it fits', async (status) => {
    const server = await startLimited(1000, status)
    expect(await createEmbedder(server.url).embedQuery(`tide ${'x'.repeat(4000)}`)).toBe('[1,2]')
    const lengths = server.requests.map((request) => JSON.parse(request).input[0].length)
    expect(lengths).toEqual([4005, 2003, 1002, 501])
    expect(JSON.parse(server.requests.at(-1) ?? '').input[0]).toMatch(/^tide x+$/)
  })

  it('is model_rejected when no shortening helps, after a few attempts, and at once when it is short', async () => {
    const server = await startLimited(0, 400)
    await expect(createEmbedder(server.url).embedQuery('x'.repeat(100_000))).rejects.toEqual(isError('model_rejected'))
    expect(server.requests.length).toBe(6)
    await expect(createEmbedder(server.url).embedQuery('Why?')).rejects.toEqual(isError('model_rejected'))
    expect(server.requests.length).toBe(7)
  })
})

/** Starts a server that rejects texts of more than `limit` characters. */
async function startLimited(limit: number, status: number) {
  const server = await startHttpServer((response, _request, body) => {
    const [text] = JSON.parse(body).input
    response.statusCode = text.length > limit ? status : 200
    response.end(JSON.stringify({ data: [{ embedding: [1, 2] }] }))
  })
  return server
}
