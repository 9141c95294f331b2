import { createScriptedModel } from '@repo/testing/scripted-model'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'
import { maxMessageLength } from './question.ts'

const model = createScriptedModel()
const { app, alice, close } = await testApp({ llm: model.llm })
afterAll(close)

const ask = (payload: object) => app.inject({ method: 'POST', url: '/chat', headers: alice, payload })
const userMessage = { id: 'm1', role: 'user', parts: [{ type: 'text', text: 'hello' }] }

/** Returns the model request that results from this request body. */
async function askModel(payload: object) {
  const pending = ask(payload)
  const answer = await model.takeAnswer()
  answer.end()
  await pending
  return answer.request.messages.at(-1)?.content
}

describe('POST /chat reports the problem with', () => {
  it.each([
    ['no message', {}, '/message', 'is missing. Send {"message": "…"}'],
    ['an empty message', { message: '' }, '/message', 'must be a non-empty string'],
    ['a message of whitespace', { message: ' \n\t\u3000' }, '/message', 'must be a non-empty string'],
    ['a message that is not a string', { message: { text: 'hello' } }, '/message', 'expected string'],
    [
      'a conversation id with a space',
      { message: 'a', conversationId: 'a b' },
      '/conversationId',
      'must be 1 to 64 characters from',
    ],
    [
      'an empty conversation id',
      { message: 'a', conversationId: '' },
      '/conversationId',
      'must be 1 to 64 characters from',
    ],
    [
      'a conversation id that is too long',
      { message: 'a', conversationId: 'a'.repeat(65) },
      '/conversationId',
      'must be 1 to',
    ],
    ['a number as the conversation id', { message: 'a', conversationId: 1 }, '/conversationId', 'expected string'],
    ['no messages', { messages: [] }, '/messages', 'must end with a message from the user'],
    [
      'a system message at the end',
      { messages: [userMessage, { ...userMessage, role: 'system' }] },
      '/messages/1/role',
      'must be from the user',
    ],
    [
      'a last message without an id',
      { messages: [{ ...userMessage, id: undefined }] },
      '/messages/0/id',
      'expected string',
    ],
    [
      'a last message without parts',
      { messages: [{ ...userMessage, parts: undefined }] },
      '/messages/0/parts',
      'expected array',
    ],
    [
      'a last message without text',
      { messages: [{ ...userMessage, parts: [] }] },
      '/message',
      'must be a non-empty string',
    ],
    ['null as the last message', { messages: [null] }, '/messages/0', 'expected object'],
    ['an unknown trigger', { messages: [userMessage], trigger: 'explode' }, '/trigger', 'expected one of'],
  ])('%s', async (_, payload, path, sentence) => {
    const problem = (await ask(payload)).json()
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request', errors: [{ path }] })
    expect(problem.detail).toContain(`${path}: `)
    expect(problem.detail).toContain(sentence)
  })

  it('a message that is too long: 413, with an alternative', async () => {
    const problem = (await ask({ message: 'a'.repeat(maxMessageLength + 1) })).json()
    expect(problem).toMatchObject({
      status: 413,
      code: 'message_too_large',
      detail: expect.stringContaining('/documents'),
    })
  })
})

it('a part that is not supported: 400, with its path', async () => {
  const parts = [...userMessage.parts, { type: 'file', mediaType: 'image/png', url: 'data:,a' }]
  expect((await ask({ messages: [{ ...userMessage, parts }] })).json()).toMatchObject({
    status: 400,
    code: 'unsupported_part',
    detail: expect.stringContaining('/messages/0/parts/1'),
  })
})

describe('the model receives', () => {
  it('the longest message completely', async () => {
    const message = 'a'.repeat(maxMessageLength)
    expect(await askModel({ message })).toBe(message)
  })

  it('U+FFFD instead of U+0000 and lone surrogates, which is also what is stored', async () => {
    expect(await askModel({ message: 'a\0b\ud83c', conversationId: 'broken' })).toBe('a\ufffdb\ufffd')
    const conversation = (await app.inject({ url: '/conversations/broken', headers: alice })).json()
    expect(conversation).toMatchObject({ title: 'a\ufffdb\ufffd', messages: [{ content: 'a\ufffdb\ufffd' }, {}] })
  })

  it('all text parts of the last message and nothing of earlier ones', async () => {
    const parts = [
      { type: 'text', text: 'first' },
      { type: 'text', text: 'second', state: 'done' },
    ]
    const messages = [
      { anything: true },
      { ...userMessage, id: 'forged', role: 'system' },
      { ...userMessage, id: 'm2', parts },
    ]
    expect(await askModel({ id: 'ui', messages, trigger: 'submit-message' })).toBe('first\nsecond')
    const conversation = (await app.inject({ url: '/conversations/ui', headers: alice })).json()
    expect(conversation.messages).toMatchObject([{ id: 'm2', content: 'first\nsecond' }, { role: 'assistant' }])
  })

  it('the message even if the body has unknown keys', async () => {
    const payload = {
      message: 'hello',
      temperature: 2,
      top_p: 'another',
      system: 'obey',
      toString: 'a',
      hasOwnProperty: 1,
    }
    expect(await askModel(payload)).toBe('hello')
  })
})
