import { describe, expect, it } from 'vitest'
import { createHttpClient } from './http/http-client.ts'
import { createOpenAiEmbeddings } from './openai-embeddings.ts'
import { startHttpServer } from './test-server.ts'

const { signal } = new AbortController()
const createEmbeddings = (baseUrl: string, dimensions?: number) =>
  createOpenAiEmbeddings(
    createHttpClient({ baseUrl, firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000 }),
    'the-model',
    dimensions,
  )
const answer = (body: unknown, status = 200) =>
  startHttpServer((response) => response.writeHead(status).end(JSON.stringify(body)))
const list = {
  object: 'list',
  data: [{ object: 'embedding', index: 0, embedding: [0.5, -1] }],
  model: 'the-model-2',
  usage: { prompt_tokens: 1, total_tokens: 1 },
}

describe('the request', () => {
  it('contains what the client sent, with our model, and asks for numbers', async () => {
    const server = await answer(list)
    const body = { model: 'alias', input: ['a'], encoding_format: 'base64', user: 'u', dimensions: 8 }
    await createEmbeddings(server.url).create(body, signal)
    expect(server.requests.map((request) => JSON.parse(request))).toEqual([
      { ...body, model: 'the-model', encoding_format: 'float' },
    ])
  })

  it('uses the configured dimensions unless the client sets its own', async () => {
    const server = await answer(list)
    const embeddings = createEmbeddings(server.url, 256)
    await embeddings.create({ input: 'a' }, signal)
    await embeddings.create({ input: 'a', dimensions: 8 }, signal)
    expect(server.requests.map((request) => JSON.parse(request).dimensions)).toEqual([256, 8])
  })
})

describe('the answer', () => {
  it('is returned as the vendor sent it', async () => {
    const { url } = await answer(list)
    expect(await createEmbeddings(url).create({ input: 'a' }, signal)).toEqual(list)
  })

  it('gets an index if the vendor omitted it, as Gemini does with 0', async () => {
    const { url } = await answer({ data: [{ embedding: [5] }, { index: 1, embedding: [6] }] })
    expect(await createEmbeddings(url).create({ input: ['a', 'b'] }, signal)).toEqual({
      data: [
        { index: 0, embedding: [5] },
        { index: 1, embedding: [6] },
      ],
    })
  })

  it.each([
    ['model_failed for an error with status 200', { error: { message: 'the-secret' } }, 200, 'model_failed'],
    ['model_protocol for JSON with another schema', { vectors: [] }, 200, 'model_protocol'],
    ['model_protocol for fewer vectors than texts', { data: [] }, 200, 'model_protocol'],
    ['model_protocol for an item without a vector', { data: [{ index: 0 }] }, 200, 'model_protocol'],
    ['model_rejected for a 400', { error: {} }, 400, 'model_rejected'],
    ['model_rate_limited for a 429', { error: {} }, 429, 'model_rate_limited'],
  ])('is %s', async (_, body, status, code) => {
    const { url } = await answer(body, status)
    await expect(createEmbeddings(url).create({ input: 'a' }, signal)).rejects.toMatchObject({ name: 'LlmError', code })
  })

  it('is cancelled when the caller aborts, and rejects with the abort reason', async () => {
    const abort = new AbortController()
    const server = await startHttpServer(() => abort.abort('left'))
    await expect(createEmbeddings(server.url).create({ input: 'a' }, abort.signal)).rejects.toBe('left')
    await expect.poll(() => server.sockets[0]?.destroyed).toBe(true)
  })
})

describe('many texts', () => {
  const texts = Array.from({ length: 100 }, (_, n) => `${n}`)

  it('are split into calls of 32, and their vectors keep the order of the texts', async () => {
    const server = await startHttpServer((response, _request, body) => {
      const { input }: { input: string[] } = JSON.parse(body)
      const data = input.map((text, index) => ({ object: 'embedding', index, embedding: [Number(text)] })).toReversed()
      response.end(
        JSON.stringify({ ...list, data, usage: { prompt_tokens: input.length, total_tokens: input.length } }),
      )
    })
    const { data, ...rest } = await createEmbeddings(server.url).create({ input: texts }, signal)
    expect(server.requests.map((request) => JSON.parse(request).input.length).sort()).toEqual([32, 32, 32, 4])
    expect(data.length).toBe(100)
    for (const { index, embedding } of data) expect(embedding).toEqual([index])
    const { data: _, ...expected } = list
    expect(rest).toEqual({ ...expected, usage: { prompt_tokens: 100, total_tokens: 100 } })
  })

  it('fail together with one of their calls, which cancels the others', async () => {
    const server = await startHttpServer((response, _request, body) => {
      if (JSON.parse(body).input[0] === '32') response.writeHead(500).end('{}')
    })
    const created = createEmbeddings(server.url).create({ input: texts }, signal)
    await expect(created).rejects.toMatchObject({ code: 'model_failed' })
    await expect.poll(() => server.sockets.every(({ destroyed }) => destroyed)).toBe(true)
  })
})
