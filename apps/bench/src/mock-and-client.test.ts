import type { AnswerEvent } from '@repo/llm'
import { createLlm } from '@repo/llm'
import { mockAnswer, mockEmbedding, startMockModel } from '@repo/testing/mock-model'
import { describe, expect, it, onTestFinished } from 'vitest'

/** Starts the mock, and Sluice's model client connected to it. */
async function startBoth({ firstByteTimeoutMs = 10_000, idleTimeoutMs = 10_000 } = {}) {
  const mock = await startMockModel()
  const models = { chatModel: 'mock', embeddingModel: 'mock-embed-16' }
  const llm = createLlm({ baseUrl: mock.url, ...models, beforeCall: () => {}, firstByteTimeoutMs, idleTimeoutMs })
  onTestFinished(async () => {
    llm.close()
    await mock.close()
  })
  return { mock, llm }
}

type Chat = Awaited<ReturnType<typeof startBoth>>['llm']['chat']

/** Returns the texts of an answer, and the finish event or error that ended it. */
async function ask(chat: Chat, content: string, signal = new AbortController().signal) {
  const texts = { 'text-delta': '', 'reasoning-delta': '' }
  let end: unknown
  try {
    const batches: AsyncIterable<AnswerEvent[]> = await chat.stream({
      messages: [{ role: 'user', content }],
      passages: [],
      signal,
    })
    for await (const batch of batches) {
      for (const event of batch) {
        if (event.type === 'finish') end = event
        else if ('text' in event) texts[event.type] += event.text
      }
    }
  } catch (error) {
    end = error
  }
  return { text: texts['text-delta'], reasoning: texts['reasoning-delta'], end }
}

describe('the client of packages/llm with the mock', () => {
  it('reads every byte of short, long, paced and reasoning answers', async () => {
    const { llm } = await startBoth()
    const asked: [string, number, number][] = [
      ['[mock tokens=1]', 1, 0],
      ['[mock tokens=20000]', 20_000, 0],
      ['[mock tokens=50 interval=1]', 50, 0],
      ['[mock tokens=5 reasoning=3]', 5, 3],
    ]
    for (const [prompt, tokens, reasoning] of asked) {
      const usage = { inputTokens: 10, outputTokens: tokens + reasoning }
      expect(await ask(llm.chat, prompt)).toEqual({
        text: mockAnswer(prompt, tokens),
        reasoning: mockAnswer(prompt, reasoning),
        end: { type: 'finish', finishReason: 'stop', usage, response: { id: 'chatcmpl-mock', model: 'mock' } },
      })
    }
  })

  it('keeps 200 concurrent answers apart', async () => {
    const { llm } = await startBoth()
    const prompts = Array.from({ length: 200 }, (_, index) => `${index} [mock tokens=50 interval=5]`)
    const answers = await Promise.all(prompts.map((prompt) => ask(llm.chat, prompt)))
    expect(answers.map(({ text }) => text)).toEqual(prompts.map((prompt) => mockAnswer(prompt, 50)))
  })

  const faults: [string, string][] = [
    ['401', 'model_unauthorized'],
    ['404', 'model_rejected'],
    ['429', 'model_rate_limited'],
    ['500', 'model_failed'],
    ['hang', 'model_timeout'],
    ['hang@0', 'model_timeout'],
    ['hang@5', 'model_timeout'],
    ['reset', 'model_unreachable'],
    ['reset@5', 'model_unreachable'],
    ['error@5', 'model_failed'],
    ['garbage@5', 'model_protocol'],
    ['truncate@5', 'model_protocol'],
    ['long@5', 'model_protocol'],
  ]
  for (const [fault, code] of faults) {
    it(`reports ${fault} as ${code}, sends one request, and keeps the text so far`, async () => {
      const patience = fault.startsWith('hang') ? { firstByteTimeoutMs: 1000, idleTimeoutMs: 1000 } : {}
      const { llm, mock } = await startBoth(patience)
      const prompt = `[mock tokens=20 interval=1 fault=${fault}]`
      const { text, end } = await ask(llm.chat, prompt)
      expect(end).toMatchObject({ name: 'LlmError', code })
      expect(text).toBe(mockAnswer(prompt, Number(fault.split('@')[1] ?? 0)))
      expect(mock.requests).toHaveLength(1)
    })
  }

  const windows = ['[mock fault=hang]', '[mock delay=60000]', '[mock fault=hang@0]', '[mock tokens=10000 interval=2]']
  for (const prompt of windows) {
    it(`aborts the request to the mock during ${prompt}`, async () => {
      const { llm, mock } = await startBoth()
      const abort = new AbortController()
      const answer = ask(llm.chat, prompt, abort.signal)
      await expect.poll(() => mock.stats().open).toBe(1)
      abort.abort('the user stopped')
      expect((await answer).end).toBe('the user stopped')
      await expect.poll(() => mock.stats()).toMatchObject({ open: 0, aborted: 1 })
    })
  }

  it('embeds in batches with the same result as one by one', async () => {
    const { llm, mock } = await startBoth()
    const texts = Array.from({ length: 200 }, (_, index) => `text ${index}`)
    expect(await llm.embedder.embed(texts)).toEqual(texts.map((text) => mockEmbedding(text, 16)))
    expect(mock.stats().embeddings).toBe(3)
  })
})
