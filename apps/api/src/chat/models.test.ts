import { joinText, listTypes, post, readParts } from '@repo/testing/ui-stream'
import { beginChunks, chunk, sendChunks, sendJson, startUpstream } from '@repo/testing/upstream'
import { pino } from 'pino'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const [first, second] = [await startUpstream(), await startUpstream()]
const lines: string[] = []
const { app, alice, listen, close } = await testApp({
  environment: {
    OPENAI_BASE_URL: first.url,
    OPENAI_API_KEY: 'first-key',
    SECOND_KEY: 'second-key',
    CHAT_MODEL: 'standard',
    CHAT_MODELS: JSON.stringify([
      { name: 'standard', fallback: 'spare' },
      { name: 'spare', model: 'vendor/spare', baseUrl: second.url, keyVariable: 'SECOND_KEY', maxAnswerTokens: 2 },
      { name: 'refused', baseUrl: 'http://127.0.0.1:9/v1', fallback: 'spare' },
      { name: 'alone' },
    ]),
    MODEL_FIRST_BYTE_TIMEOUT_MS: '1000',
  },
  logger: pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) }),
})
const url = await listen()
afterAll(close)
beforeEach(() => {
  lines.length = 0
})

let count = 0
/** Asks in a new conversation and returns the response, with a function that reads the stored answer. */
async function ask(body: object = {}) {
  const id = `conversation-${++count}`
  const response = await post(`${url}/chat`, alice, { message: 'Why?', conversationId: id, ...body })
  const readStored = async () =>
    (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages?.at(-1)
  return { response, readStored }
}
const say = (...words: string[]) => sendChunks(...words.map((content) => chunk({ content })), chunk({}, 'stop'))
const countFallbacks = async (model: string) => {
  const text = (await app.inject({ url: '/metrics', headers: alice })).body
  return Number(text.match(`sluice_model_fallbacks_total{model="${model}",fallback="spare"} (\\d+)`)?.[1])
}

describe('the model of an answer', () => {
  it('is the default one, and its name is stored', async () => {
    first.next(say('Hello'))
    const { response, readStored } = await ask()
    expect(joinText(await readParts(response))).toBe('Hello')
    expect(first.calls.at(-1)?.body).toMatchObject({ model: 'standard' })
    expect(await readStored()).toMatchObject({ role: 'assistant', model: 'standard', status: 'complete' })
  })

  it('is the one that the request names, on its own server and with its own limit', async () => {
    second.next(say('One', ' two', ' three'))
    const { response, readStored } = await ask({ model: 'spare' })
    expect(joinText(await readParts(response))).toBe('One two')
    expect(second.calls.at(-1)).toMatchObject({
      headers: { authorization: 'Bearer second-key' },
      body: { model: 'vendor/spare', max_tokens: 2 },
    })
    expect(await readStored()).toMatchObject({ model: 'spare' })
  })

  it('can be named by useChat and when regenerating, and is null for questions', async () => {
    const body = { id: 'of-use-chat', messages: [{ id: 'q', role: 'user', parts: [{ type: 'text', text: 'Why?' }] }] }
    first.next(say('First'))
    await (await post(`${url}/chat`, alice, { ...body, model: 'alone' })).text()
    second.next(say('Second'))
    await (await post(`${url}/chat`, alice, { ...body, model: 'spare', trigger: 'regenerate-message' })).text()
    const { messages } = (await app.inject({ url: '/conversations/of-use-chat', headers: alice })).json()
    expect(messages).toMatchObject([
      { role: 'user', model: null },
      { content: 'Second', model: 'spare' },
    ])
  })

  it('404 with the available names if it is unknown, and the question is not stored', async () => {
    const { response, readStored } = await ask({ model: 'gpt-9' })
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({
      code: 'model_not_found',
      detail: 'Model not found. Use one of these: standard, spare, refused, alone.',
    })
    expect(await readStored()).toBeUndefined()
  })
})

describe('a fallback', () => {
  it.each([
    ['a 429', 'standard', sendJson({}, 429)],
    ['a 503', 'standard', sendJson({}, 503)],
    ['a first token that does not arrive', 'standard', beginChunks],
    ['a refused connection', 'refused', undefined],
  ])('answers after %s; one warning is logged and counted', async (_, model, respond) => {
    const before = await countFallbacks(model)
    if (respond) first.next(respond)
    second.next(say('Spare'))
    const { response, readStored } = await ask({ model })
    expect(joinText(await readParts(response))).toBe('Spare')
    expect(await readStored()).toMatchObject({ content: 'Spare', status: 'complete', model: 'spare' })
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ level: 40, model, fallback: 'spare' }])
    expect(await countFallbacks(model)).toBe(before + 1)
  })

  it('is not called after a 401', async () => {
    const calls = second.calls.length
    first.next(sendJson({}, 401))
    const { response, readStored } = await ask()
    expect(response.status).toBe(502)
    expect(await response.json()).toMatchObject({ code: 'model_unauthorized' })
    expect(await readStored()).toMatchObject({ status: 'failed', model: 'standard' })
    expect(second.calls).toHaveLength(calls)
  })

  it('is not called after the first token', async () => {
    const calls = second.calls.length
    first.next((response) => {
      beginChunks(response, chunk({ content: 'half' }))
      response.write('data: {"error":{"code":500}}\n\n')
    })
    const { response, readStored } = await ask()
    expect(listTypes(await readParts(response))).toContain('error')
    expect(await readStored()).toMatchObject({ content: 'half', status: 'failed', model: 'standard' })
    expect(second.calls).toHaveLength(calls)
  })

  it('that fails as well ends the answer with its error', async () => {
    first.next(sendJson({}, 503))
    second.next(sendJson({}, 429, { 'retry-after': '7' }))
    const { response, readStored } = await ask()
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '7'])
    expect(await readStored()).toMatchObject({ status: 'failed', model: 'spare' })
  })
})
