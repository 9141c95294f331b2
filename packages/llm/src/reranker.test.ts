import { describe, expect, it } from 'vitest'
import { createLlm } from './index.ts'
import type { LlmErrorCode, Reranker } from './llm.ts'
import { startHttpServer } from './test-server.ts'

const options = { beforeCall: () => {}, firstByteTimeoutMs: 60_000, idleTimeoutMs: 60_000 }
const vendor = { baseUrl: 'http://127.0.0.1:9/v1', apiKey: 'the-vendors-key', chatModel: 'c', embeddingModel: 'e' }
const isError = (code: LlmErrorCode) => expect.objectContaining({ name: 'LlmError', code })
const question = 'When does it open?'
const texts = ['It rains.', 'It opens at nine.', 'It closes at five.']

function connect(
  baseUrl: string,
  more: { apiKey?: string; firstByteTimeoutMs?: number; beforeCall?: () => void } = {},
) {
  const { apiKey, ...limits } = more
  const { reranker } = createLlm({
    ...options,
    ...vendor,
    ...limits,
    reranker: { baseUrl, apiKey, model: 'the-model' },
  })
  if (!reranker) throw new Error('there is no reranker')
  return reranker
}

/** Returns a reranker whose server responds with these results. */
async function answerWith(...results: unknown[]): Promise<Reranker> {
  const { url } = await startHttpServer((response) => response.end(JSON.stringify({ results })))
  return connect(url)
}

describe('a reranker', () => {
  it.each(['', '/'])('is asked in the format of Cohere and Jina; the base URL ends with %j', async (end) => {
    const calls: unknown[] = []
    const server = await startHttpServer((response, { url, headers }) => {
      calls.push([url, headers.authorization])
      response.end('{"results":[{"index":1,"relevance_score":0.9},{"index":2,"relevance_score":0.1}]}')
    })
    await connect(`${server.url}${end}`).rerank(question, texts, 2)
    await connect(`${server.url}${end}`, { apiKey: 'its-own-key' }).rerank(question, texts, 2)
    expect(server.requests.map((body) => JSON.parse(body))).toEqual(
      Array(2).fill({ model: 'the-model', query: question, documents: texts, top_n: 2 }),
    )
    expect(calls).toEqual([
      ['/v1/rerank', undefined], // the vendor's key is not sent to another server
      ['/v1/rerank', 'Bearer its-own-key'],
    ])
  })

  it('orders by score, whatever the order of the response, and by position if scores are equal', async () => {
    const scores = [-1.5, 3, 3].map((relevance_score, index) => ({ index, relevance_score })).reverse()
    const reranker = await answerWith(...scores)
    const [first, second, third] = [1, 2, 0].map((index) => ({ index, score: index === 0 ? -1.5 : 3 }))
    expect(await reranker.rerank(question, texts, 9)).toEqual([first, second, third])
    expect(await reranker.rerank(question, texts, 1)).toEqual([first]) // also if the server ignores `top_n`
  })

  const valid = { index: 0, relevance_score: 0.5 }
  it.each([
    ['an index beyond the texts', { index: 3, relevance_score: 0.5 }],
    ['a negative index', { index: -1, relevance_score: 0.5 }],
    ['a fraction as index', { index: 0.5, relevance_score: 0.5 }],
    ['a text as index', { index: '1', relevance_score: 0.5 }],
    ['the same index twice', valid],
    ['no score', { index: 1 }],
    ['a score of null', { index: 1, relevance_score: null }],
    ['a text as score', { index: 1, relevance_score: 'NaN' }],
    ['no object', 1],
  ])('rejects %s', async (_, result) => {
    const reranker = await answerWith(valid, result)
    await expect(reranker.rerank(question, texts, 2)).rejects.toEqual(isError('model_protocol'))
  })

  it('rejects a response with too few results', async () => {
    await expect((await answerWith(valid)).rerank(question, texts, 2)).rejects.toEqual(isError('model_protocol'))
  })

  it.each(['', '[]', 'null', '{"data":[]}', '{"results":{}}', '{"results":[{"index":0,"relevance_score":NaN}]}'])(
    'rejects the body %j',
    async (body) => {
      const { url } = await startHttpServer((response) => response.end(body))
      await expect(connect(url).rerank(question, texts, 2)).rejects.toEqual(isError('model_protocol'))
    },
  )

  it.each([
    [401, 'model_unauthorized'],
    [404, 'model_rejected'],
    [429, 'model_rate_limited'],
    [500, 'model_failed'],
  ] as const)('rejects with status %s', async (status, code) => {
    const { url } = await startHttpServer((response) => response.writeHead(status).end())
    await expect(connect(url).rerank(question, texts, 2)).rejects.toEqual(isError(code))
  })

  it('that nothing listens for is unreachable', async () => {
    await expect(connect('http://127.0.0.1:9').rerank(question, texts, 2)).rejects.toEqual(isError('model_unreachable'))
  })

  it.each([
    ['does not respond', () => {}],
    ['does not end its response', (response: { write: (text: string) => unknown }) => response.write('{')],
  ])('times out after a second if its server %s', async (_, respond) => {
    const server = await startHttpServer(respond)
    await expect(connect(server.url).rerank(question, texts, 2)).rejects.toEqual(isError('model_timeout'))
    await expect.poll(() => server.sockets.every(({ destroyed }) => destroyed)).toBe(true)
  })

  it('ends with the reason of the aborted signal', async () => {
    const [reason, controller] = [new Error('left'), new AbortController()]
    const server = await startHttpServer(() => controller.abort(reason))
    await expect(connect(server.url).rerank(question, texts, 2, controller.signal)).rejects.toBe(reason)
  })

  it('is not called if the guard forbids it', async () => {
    const server = await startHttpServer((response) => response.end())
    const beforeCall = () => {
      throw new Error('a connection is held')
    }
    const search = connect(server.url, { beforeCall }).rerank(question, texts, 2)
    await expect(search).rejects.toThrow('a connection is held')
    expect(server.requests).toEqual([])
  })
})

it('a real llama.cpp server scores texts', async ({ skip }) => {
  const url = process.env.LLAMA_RERANK_URL
  if (!url) skip('needs LLAMA_RERANK_URL, the base URL of a llama.cpp server with --reranking')
  const ranked = await connect(`${url}`).rerank(question, texts, 2)
  expect(ranked).toHaveLength(2)
  expect(new Set(ranked.map(({ index }) => index)).size).toBe(2)
})
