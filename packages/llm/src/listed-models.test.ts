import { expect, it } from 'vitest'
import { createHttpClient } from './http/http-client.ts'
import { findUnlistedModels } from './listed-models.ts'
import { startHttpServer } from './test-server.ts'

/** Returns what is reported of these models on a server with this response to `GET /models`. */
async function check(response: unknown, ...models: string[]) {
  const server = await startHttpServer((reply, request) =>
    request.method === 'GET' && request.url === '/v1/models' ? reply.end(JSON.stringify(response)) : reply.destroy(),
  )
  const http = createHttpClient({ baseUrl: server.url, firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000 })
  const found = await findUnlistedModels(
    models.map((model) => ({ model, http })),
    AbortSignal.timeout(60_000),
  )
  expect(server.requests).toHaveLength(1)
  return found
}

const list = (...ids: string[]) => ({ object: 'list', data: ids.map((id) => ({ id })) })

it('reports each model that its server does not list, and what it lists', async () => {
  expect(await check(list('a', 'b'), 'a', 'c', 'c')).toEqual(['The model server does not list c. It lists a, b.'])
  expect(await check(list(...'abcdefg'), 'x')).toEqual(['The model server does not list x. It lists a, b, c, d, e, ….'])
})

it.each([
  ['the prefix of Gemini', list('models/gemini'), 'gemini'],
  ['the tag of Ollama', list('llama3:latest'), 'llama3'],
  ['llama.cpp, which accepts any name', { data: [{ id: '/a/file.gguf', owned_by: 'llamacpp' }] }, 'any'],
  ['an empty list', list(), 'any'],
  ['an error', { error: { message: 'no such route' } }, 'any'],
  ['another format', ['any'], 'other'],
])('reports nothing for %s', async (_, response, model) => {
  expect(await check(response, model)).toEqual([])
})

it('reports nothing while the server is unreachable', async () => {
  const http = createHttpClient({ baseUrl: 'http://127.0.0.1:9/v1', firstByteTimeoutMs: 10_000, idleTimeoutMs: 10_000 })
  expect(await findUnlistedModels([{ model: 'a', http }], AbortSignal.timeout(60_000))).toEqual([])
})
