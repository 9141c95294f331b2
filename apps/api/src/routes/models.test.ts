import { afterAll, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

const { app, alice, close } = await testApp({
  environment: {
    OPENAI_BASE_URL: 'http://127.0.0.1:9/v1',
    CHAT_MODEL: 'standard',
    CHAT_MODELS: JSON.stringify([
      {
        name: 'local',
        model: 'llama',
        keyVariable: 'SECRET_KEY',
        images: false,
        contextTokens: 8192,
        maxAnswerTokens: 500,
      },
    ]),
    SECRET_KEY: 'the-secret',
    MAX_ANSWER_TOKENS: '4000',
  },
})
afterAll(close)

it('lists the chat models with their capabilities and limits, the default one first', async () => {
  const response = await app.inject({ url: '/models', headers: alice })
  expect(response.json()).toEqual({
    items: [
      {
        id: 'standard',
        default: true,
        capabilities: { images: true, tools: true, reasoning: false },
        contextTokens: null,
        maxAnswerTokens: 4000,
      },
      {
        id: 'local',
        default: false,
        capabilities: { images: false, tools: true, reasoning: false },
        contextTokens: 8192,
        maxAnswerTokens: 500,
      },
    ],
    next: null,
  })
})

it('requires a key', async () => {
  expect((await app.inject('/models')).statusCode).toBe(401)
})
