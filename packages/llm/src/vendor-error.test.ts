import { describe, expect, it } from 'vitest'
import { createVendorError, readVendorError } from './vendor-error.ts'

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
  it.each([
    [400, 'model_rejected', { object: 'error', message: 'the-secret', code: 400 }],
    [401, 'model_unauthorized', { error: { code: 401 } }],
    [404, 'model_rejected', { error: { code: '404', message: 'no model of the context size' } }],
    [500, 'model_failed', { error: { status: 500 } }],
    [undefined, 'model_unauthorized', { error: { type: 'authentication_error' } }],
    [undefined, 'model_unauthorized', { error: { code: 'invalid_api_key' } }],
    [undefined, 'model_rate_limited', { error: { code: 'insufficient_quota' } }],
    [429, 'model_rate_limited', { error: { code: 429, status: 'RESOURCE_EXHAUSTED' } }],
    [undefined, 'model_rate_limited', { error: 'Rate limit reached, the-secret' }],
    [undefined, 'context_length_exceeded', { error: { code: 'context_length_exceeded' } }],
    [undefined, 'model_failed', { error: { message: 'x' }, choices: [{ delta: { content: 'API key' } }] }],
  ] as const)('is classified like HTTP status %s as %s: %j', (status, code, value) => {
    const error = readVendorError(value)
    expect(error).toMatchObject({ code, status })
    expect(error?.message).not.toContain('the-secret')
  })
})

/** Messages that servers send for a text that is too long. */
const overflows: [string, number, string, string][] = [
  [
    'llama.cpp',
    400,
    '{"error":{"code":400,"message":"request (45003 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":45003,"n_ctx":4096}}',
    'has 45003 tokens, and the model accepts 4096',
  ],
  [
    'llama.cpp with --embeddings',
    500,
    '{"error":{"code":500,"message":"input (1500 tokens) is too large to process. increase the physical batch size (current batch size: 512)","type":"server_error"}}',
    'has 1500 tokens, and the model accepts 512',
  ],
  [
    'OpenAI',
    400,
    `{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens.","code":"context_length_exceeded"}}`,
    'has 8545 tokens, and the model accepts 8192',
  ],
  [
    'vLLM',
    400,
    `{"object":"error","message":"This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the messages, 10000 in the completion).","code":400}`,
    'has 122946 tokens, and the model accepts 16384',
  ],
  [
    'vLLM for a limit of the answer',
    400,
    `{"error":{"message":"'max_tokens' is too large: 4096. This model's maximum context length is 4096 tokens and your request has 12 input tokens","code":400}}`,
    'exceeds the 4096 tokens',
  ],
  [
    'Anthropic',
    400,
    '{"error":{"type":"invalid_request_error","message":"prompt is too long: 213462 tokens > 200000 maximum"},"request_id":"req_20261130"}',
    'has 213462 tokens, and the model accepts 200000',
  ],
  [
    'Gemini',
    400,
    '[{"error":{"code":400,"message":"The input token count (1,196,265) exceeds the maximum number of tokens allowed (1,048,575)."}}]',
    'has 1196265 tokens, and the model accepts 1048575',
  ],
  [
    'Mistral',
    400,
    '{"object":"error","message":"Prompt contains 65673 tokens, too large for model with 32768 maximum context length"}',
    'has 65673 tokens, and the model accepts 32768',
  ],
  [
    'text-embeddings-inference',
    413,
    '{"error":"Input validation error: `inputs` must have less than 256 tokens. Given: 300","error_type":"Validation","code":413}',
    'has 300 tokens, and the model accepts 256',
  ],
  ['Ollama', 400, '{"error":"the input length exceeds the context length"}', 'longer than the model accepts'],
  ['a proxy', 413, '<h1>413 Content Too Large</h1>', 'longer than the model accepts'],
]

it.each(overflows)('names the sizes of a text that is too long for %s', (_, status, text, message) => {
  const error = createVendorError(text, { status })
  expect(error).toMatchObject({ code: 'context_length_exceeded', status })
  expect(error.message).toContain(message)
})
