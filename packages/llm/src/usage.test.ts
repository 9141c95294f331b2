import { expect, it } from 'vitest'
import { estimateTokens, readInputUsage, readUsage } from './usage.ts'

const counts = { prompt_tokens: 100, completion_tokens: 5 }
const read = (usage: object, more: object = {}) => readUsage({ usage: { ...counts, ...usage }, ...more })

it.each([
  ['OpenAI', { prompt_tokens_details: { cached_tokens: 64, audio_tokens: 0 } }, {}],
  ['DeepSeek', { prompt_cache_hit_tokens: 64, prompt_cache_miss_tokens: 36 }, {}],
  ['Moonshot', { cached_tokens: 64 }, {}],
  ['a proxy for Anthropic', { cache_read_input_tokens: 64, cache_creation_input_tokens: 0 }, {}],
  ['an older llama.cpp', {}, { timings: { cache_n: 64, prompt_n: 36 } }],
  ['vLLM with null details and a proxy', { prompt_tokens_details: null, cache_read_input_tokens: 64 }, {}],
])('reads the cached tokens of %s', (_, usage, more) => {
  expect(read(usage, more)).toEqual({ inputTokens: 100, outputTokens: 5, cachedInputTokens: 64 })
})

it.each([
  ['nothing', {}],
  ['null', { prompt_tokens_details: null }],
  ['details without it', { prompt_tokens_details: { audio_tokens: 0 } }],
  ['a text', { cached_tokens: '64' }],
  ['a fraction', { cached_tokens: 0.5 }],
  ['a negative number', { cached_tokens: -1 }],
  ['a number that Postgres cannot store', { cached_tokens: 2 ** 31 }],
])('has no cached tokens if the server reports %s', (_, usage) => {
  expect(read(usage)).toEqual({ inputTokens: 100, outputTokens: 5 })
})

it('returns undefined without both counts', () => {
  for (const usage of [undefined, null, {}, { prompt_tokens: 1 }, { ...counts, completion_tokens: 1.5 }]) {
    expect(readUsage({ usage })).toBeUndefined()
  }
})

it.each([
  ['OpenAI', '{"data":[{"embedding":[1]}],"usage":{"prompt_tokens":7,"total_tokens":7}}', 7],
  ['a server that sends it first', '{"usage": {"total_tokens": 9}, "data": [{"embedding": [1, 2]}]}', 9],
  ['OpenRouter', '{"data":[],"usage":{"cost_details":{"a":1},"prompt_tokens":5}}', 5],
  ['Cohere', '{"results":[],"meta":{"billed_units":{"search_units":1}}}', undefined],
  ['a server that sends null', '{"data":[],"usage":null}', undefined],
  ['a server that sends a negative number', '{"data":[],"usage":{"prompt_tokens":-1}}', undefined],
])('reads the input tokens of %s', (_, body, inputTokens) => {
  expect(readInputUsage(body)).toEqual(inputTokens && { inputTokens, outputTokens: 0 })
})

it.each([
  [[], 0],
  [['four'], 1],
  [['four', 'times', 'four'], 4],
  [['вода'], 2],
  [['水'], 1],
])('estimates the tokens of %j', (texts, tokens) => {
  expect(estimateTokens(texts)).toBe(tokens)
})
