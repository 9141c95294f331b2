import { describe, expect, it } from 'vitest'
import { readVendorError } from './vendor-error.ts'

describe('readVendorError', () => {
  it.each([
    ['an answer', { choices: [{ delta: { content: 'error' } }] }],
    ['an answer whose error is null', { error: null, choices: [] }],
    ['a list', { object: 'list', data: [] }],
    ['no JSON', undefined],
    ['a text', 'error'],
  ])('finds no error in %s', (_, value) => {
    expect(readVendorError(value)).toBeUndefined()
  })

  it.each([
    ["OpenAI's object", { error: { message: 'the-secret', type: 'server_error', param: null, code: null } }, ''],
    ['a text', { error: 'the-secret' }, ''],
    ["vLLM's older object", { object: 'error', message: 'the-secret', code: 400 }, ''],
    ['an event named error with JSON', { message: 'the-secret' }, 'error'],
    ['an event named error without JSON', undefined, 'error'],
  ])('is model_failed for %s and quotes nothing of it', (_, value, eventName) => {
    const error = readVendorError(value, eventName)
    expect(error).toMatchObject({ name: 'LlmError', code: 'model_failed' })
    expect(error?.message).not.toContain('the-secret')
  })

  it.each([
    ['by its numeric code', { error: { code: 429 } }],
    ['by its numeric code as a string', { error: { code: '429' } }],
    ['by its code', { error: { code: 'rate_limit_exceeded' } }],
    ['by its type', { error: { type: 'rate_limit_error' } }],
    ["in vLLM's older object", { object: 'error', code: 429 }],
  ])('recognises a rate limit %s', (_, value) => {
    expect(readVendorError(value)).toMatchObject({ code: 'model_rate_limited' })
  })
})
