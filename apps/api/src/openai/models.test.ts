import { post } from '@repo/testing/ui-stream'
import { beginChunks, chunk, completion, sendChunks, sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const [first, second] = [await startUpstream(), await startUpstream()]
const { app, alice, listen, close } = await testApp({
  environment: {
    OPENAI_BASE_URL: first.url,
    CHAT_MODEL: 'standard',
    CHAT_MODELS: JSON.stringify([
      { name: 'standard', fallback: 'spare' },
      { name: 'spare', model: 'vendor/spare', baseUrl: second.url, maxAnswerTokens: 2 },
      { name: 'sees', fallback: 'blind' },
      { name: 'blind', baseUrl: second.url, images: false },
    ]),
    MODEL_FIRST_BYTE_TIMEOUT_MS: '1000',
  },
})
const url = await listen()
afterAll(close)

const messages = [{ role: 'user', content: 'Why?' }]
const send = (model: string, more: object = {}) =>
  post(`${url}/v1/chat/completions`, alice, { model, messages, retrieval: false, ...more })

it('lists all chat models and the embedding model', async () => {
  const { data } = (await app.inject({ url: '/v1/models', headers: alice })).json()
  expect(data.map(({ id }: { id: string }) => id)).toEqual([
    'standard',
    'spare',
    'sees',
    'blind',
    app.llm.embeddings.name,
  ])
})

it('calls the model that the request names, and returns the name that its server reports', async () => {
  second.next(sendJson(completion({ content: 'Hello' })))
  const answer = await (await send('spare')).json()
  expect(second.calls.at(-1)?.body).toMatchObject({ model: 'vendor/spare', max_tokens: 2 })
  expect(answer).toMatchObject({ model: 'the-model', choices: [{ message: { content: 'Hello' } }] })
})

it('enforces the token limit of that model', async () => {
  second.next(sendChunks(...['One', ' two', ' three'].map((content) => chunk({ content }))))
  const text = await (await send('spare', { stream: true })).text()
  expect(text).toContain(' two')
  expect(text).not.toContain(' three')
  expect(text).toContain('"finish_reason":"length"')
})

it('returns model_not_found with the available names', async () => {
  const response = await send('gpt-9')
  const message = 'Model not found. Use one of these: standard, spare, sees, blind.'
  expect(response.status).toBe(404)
  expect(await response.json()).toMatchObject({ error: { code: 'model_not_found', message } })
})

describe('a fallback', () => {
  it.each([
    ['a 429', sendJson({}, 429)],
    ['a first event that does not arrive', beginChunks],
  ])('answers a stream after %s', async (_, respond) => {
    first.next(respond)
    second.next(sendChunks(chunk({ content: 'Spare' }), chunk({}, 'stop')))
    expect(await (await send('standard', { stream: true })).text()).toContain('Spare')
  })

  it('answers a whole completion after a 500', async () => {
    first.next(sendJson({}, 500))
    second.next(sendJson(completion({ content: 'Spare' })))
    expect(await (await send('standard')).json()).toMatchObject({ choices: [{ message: { content: 'Spare' } }] })
  })

  it('is not called after a 400, or after the first event', async () => {
    const calls = second.calls.length
    for (let retry = 0; retry < 2; retry += 1) first.next(sendJson({}, 400))
    expect((await send('standard')).status).toBe(400)
    first.next((response) => {
      beginChunks(response, chunk({ content: 'half' }))
      response.write('data: {"error":{"code":500}}\n\n')
    })
    expect(await (await send('standard', { stream: true })).text()).toContain('model_failed')
    expect(second.calls).toHaveLength(calls)
  })

  it('that takes no images is not called for a request with an image', async () => {
    const content = [{ type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }]
    for (const stream of [false, true]) {
      const calls = second.calls.length
      first.next(sendJson({}, 503))
      expect((await send('sees', { stream, messages: [{ role: 'user', content }] })).status).toBe(502)
      expect(second.calls).toHaveLength(calls)
    }
    first.next(sendJson({}, 503))
    second.next(sendJson(completion({ content: 'Blind' })))
    expect(await (await send('sees')).json()).toMatchObject({ choices: [{ message: { content: 'Blind' } }] })
  })
})
