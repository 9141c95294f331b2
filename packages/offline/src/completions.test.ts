import type { CompletionBody, CompletionRequest } from '@repo/llm'
import { describe, expect, it } from 'vitest'
import { createOfflineCompletions } from './completions.ts'

const completions = createOfflineCompletions({ wordIntervalMs: 0 })
const passages = [{ n: 1, title: 'Handbook', text: 'Full backups are kept for 35 days.' }]
const answer = 'Full backups are kept for 35 days. [1]'

function ask(more: object = {}, signal = new AbortController().signal): CompletionRequest {
  const body: CompletionBody = { messages: [{ role: 'user', content: 'How long are backups kept?' }], ...more }
  return { body, passages, signal }
}

async function readChunks(more?: object) {
  const chunks: { choices: { delta: { content?: string }; finish_reason: string | null }[]; usage?: object }[] = []
  for await (const batch of await completions.stream(ask(more))) chunks.push(...batch.map((json) => JSON.parse(json)))
  return chunks
}

describe('a completion', () => {
  it('quotes the passages, with about a token for four characters', async () => {
    const completion = await completions.complete(ask())
    expect(completion).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/),
      object: 'chat.completion',
      model: 'offline',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: expect.stringContaining(answer), refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 7 },
    })
  })

  it('answers the question, not the passages before it in the same message', async () => {
    const question = 'How long are backups kept?'
    const messages = [{ role: 'user', content: `The passages below say why the sky is blue.\n\n${question}` }]
    const completion = await completions.complete({ ...ask({ messages }), question })
    expect(completion).toMatchObject({ choices: [{ message: { content: expect.stringContaining(answer) } }] })
  })

  it('reads multi-part content and every kind of message, and no tool’s', async () => {
    const messages = [
      { role: 'developer', content: 'Be brief.' },
      { role: 'assistant', content: null, tool_calls: [{ id: 't' }] },
      { role: 'tool', tool_call_id: 't', content: 'Who wrote this?' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'How long' },
          { type: 'text', text: 'are backups kept?' },
        ],
      },
    ]
    expect(await completions.complete(ask({ messages }))).toMatchObject({
      choices: [{ message: { content: expect.stringContaining(answer) } }],
    })
  })

  it.each([
    ['max_tokens', { max_tokens: 2 }, 'Full bac', 'length'],
    ['max_completion_tokens before max_tokens', { max_tokens: 2, max_completion_tokens: 1 }, 'Full', 'length'],
    ['a stop sequence', { stop: ' are' }, 'Full backups', 'stop'],
    ['the first of several', { stop: ['days', '', 'kept'] }, 'Full backups are ', 'stop'],
  ])('honours %s', async (_, more, content, finish_reason) => {
    expect(await completions.complete(ask(more))).toMatchObject({ choices: [{ message: { content }, finish_reason }] })
  })

  it.each([
    ['n', { n: 2 }],
    ['response_format', { response_format: { type: 'json_object' } }],
    ['tool_choice', { tool_choice: 'required' }],
    ['tool_choice', { tool_choice: { type: 'function', function: { name: 'f' } } }],
    ['messages[0].content', { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] }],
  ])('refuses what it cannot do with %s', async (param, more) => {
    const refusal = { name: 'UnsupportedParameterError', code: 'unsupported_parameter', param }
    await expect(completions.complete(ask(more))).rejects.toMatchObject(refusal)
    await expect(completions.stream(ask(more))).rejects.toMatchObject(refusal)
  })

  it.each([
    { n: 1, stop: null, max_tokens: null, tool_choice: 'auto', response_format: { type: 'text' } },
    { temperature: 0, seed: 1, tools: [{ type: 'function' }], tool_choice: 'none', parallel_tool_calls: false },
  ])('takes what makes no difference: %o', async (more) => {
    expect(await completions.complete(ask(more))).toMatchObject({ choices: [{ finish_reason: 'stop' }] })
  })
})

describe('a stream', () => {
  it('begins with the role, ends with the finish_reason, and tells no usage unasked', async () => {
    const chunks = await readChunks()
    const choices = chunks.flatMap(({ choices }) => choices)
    expect(chunks).toHaveLength(choices.length)
    expect(choices[0]).toMatchObject({ delta: { role: 'assistant', content: '' }, finish_reason: null })
    expect(choices.at(-1)).toMatchObject({ delta: {}, finish_reason: 'stop' })
    expect(choices.map(({ delta }) => delta.content ?? '').join('')).toContain(answer)
    expect(chunks.some((chunk) => 'usage' in chunk)).toBe(false)
    expect(new Set(chunks.map((chunk) => Object(chunk).id)).size).toBe(1)
  })

  it('tells the usage in one last chunk without choices when asked, and null before it', async () => {
    const chunks = await readChunks({ stream_options: { include_usage: true }, max_tokens: 2 })
    const last = chunks.pop()
    expect(last).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 },
    })
    expect(chunks.every(({ usage, choices }) => usage === null && choices.length === 1)).toBe(true)
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('length')
  })

  it('rejects with the reason of an abort', async () => {
    const abort = new AbortController()
    const read = async () => {
      for await (const _ of await completions.stream(ask({}, abort.signal))) abort.abort('left')
    }
    await expect(read()).rejects.toBe('left')
    await expect(completions.complete(ask({}, abort.signal))).rejects.toBe('left')
  })
})
