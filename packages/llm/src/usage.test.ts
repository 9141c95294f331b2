import { expect, it } from 'vitest'
import { readUsage } from './usage.ts'

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
