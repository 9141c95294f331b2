import { completion, sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

// What clients of OpenAI's API send, beside what tests/http-clients.test.ts tries on every route.

const upstream = await startUpstream()
const { app, alice, close } = await testApp({
  environment: {
    OPENAI_BASE_URL: upstream.url,
    CHAT_MODEL: 'offline',
    CHAT_MODELS: JSON.stringify([{ name: 'offline' }, { name: 'vendor/family/large' }]),
  },
})
afterAll(close)

/** Requests a completion, which the model answers. */
const complete = (messages: object[], more: object = {}) => {
  upstream.next(sendJson(completion({ content: 'Hi' })))
  const payload = { model: 'offline', messages, ...more }
  return app.inject({ method: 'POST', url: '/v1/chat/completions', headers: alice, payload })
}

it('null reaches the model unchanged where OpenAI gives it a meaning', async () => {
  const call = { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } }
  const messages = [
    { role: 'user', content: 'When?' },
    { role: 'assistant', content: null, tool_calls: [call] },
    { role: 'tool', tool_call_id: 'c1', content: '9' },
  ]
  const response = await complete(messages, { retrieval: false, filter: null, temperature: null, stop: null })
  expect(response.statusCode).toBe(200)
  expect(upstream.calls.at(-1)?.body).toMatchObject({ messages, temperature: null, stop: null })
  expect(upstream.calls.at(-1)?.body).not.toHaveProperty('filter')
})

it('a blank text is no question for the documents, but an image is', async () => {
  const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }
  expect((await complete([{ role: 'user', content: [image] }])).statusCode).toBe(200)
  expect((await complete([{ role: 'user', content: ' ' }], { retrieval: false })).statusCode).toBe(200)
  const calls = upstream.calls.length
  for (const content of [' ', '\u200b', null, [{ type: 'text', text: '' }]])
    expect((await complete([{ role: 'user', content }])).json()).toMatchObject({ error: { code: 'invalid_request' } })
  expect(upstream.calls).toHaveLength(calls)
})

it.each(['offline', 'vendor/family/large', 'vendor%2Ffamily%2Flarge', 'vendor/family%2Flarge/'])(
  'GET /v1/models/%s returns that model',
  async (id) => {
    const response = await app.inject({ url: `/v1/models/${id}`, headers: alice })
    const model = { id: decodeURIComponent(id).replace(/\/$/, ''), object: 'model', owned_by: 'sluice' }
    expect([response.statusCode, response.json()]).toEqual([200, { ...model, created: expect.any(Number) }])
  },
)

it.each(['none', 'vendor/none', 'a'.repeat(300), 'vendor'])(
  'an unknown model, %s, is a 404 that lists the models',
  async (id) => {
    const response = await app.inject({ url: `/v1/models/${id}`, headers: alice })
    expect(response.statusCode).toBe(404)
    expect(response.json().error).toMatchObject({ code: 'model_not_found' })
    expect(response.json().error.message).toContain('offline, vendor/family/large')
  },
)

it.each(['/v1', '/v1/', '/v1/assistants', '/v1/chat', '/v1/fine_tuning/jobs?limit=1'])(
  'a 404 of %s lists the routes that exist',
  async (url) => {
    const { paths } = (await app.inject('/openapi.json')).json()
    const routes = Object.keys(paths).flatMap((path) =>
      Object.keys(paths[path]).map((method) => `${method.toUpperCase()} ${path.replace('{id}', ':id')}`),
    )
    const response = await app.inject({ url, headers: alice })
    expect(response.statusCode).toBe(404)
    const { message, code } = response.json().error
    expect(code).toBe('route_not_found')
    for (const route of routes.filter((name) => name.includes(' /v1/'))) expect(message).toContain(route)
  },
)
