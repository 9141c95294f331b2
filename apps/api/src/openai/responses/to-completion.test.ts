import { describe, expect, it } from 'vitest'
import { ResponseRequest } from './routes.schemas.ts'
import { toCompletionBody } from './to-completion.ts'

const convert = (body: object) => toCompletionBody(ResponseRequest.parse({ model: 'm', input: 'Hi', ...body }))
const user = { role: 'user', content: 'Hi' }
const lookup = { name: 'lookup', description: 'Finds orders', parameters: { type: 'object' }, strict: true }
const schema = { name: 'answer', schema: { type: 'object' }, strict: true }
const thought = { id: 'rs_1', type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'Hm.' }] }
const call = (id: string) => ({ type: 'function_call', call_id: id, name: 'lookup', arguments: '{"n":1}' })
const toolCall = (id: string) => ({ id, type: 'function', function: { name: 'lookup', arguments: '{"n":1}' } })

describe('the completion of a response', () => {
  it.each<[string, object, object]>([
    ['a text', {}, { model: 'm', messages: [user], retrieval: true }],
    [
      'instructions and those at the start of the input, in one message',
      { instructions: 'Be kind.', input: [{ role: 'developer', content: 'Be short.' }, user] },
      { messages: [{ role: 'system', content: 'Be kind.\n\nBe short.' }, user] },
    ],
    [
      'parts with text and images',
      {
        input: [
          {
            type: 'message',
            role: 'user',
            content: [
              { type: 'input_text', text: 'What is this?' },
              { type: 'input_image', image_url: 'data:image/png;base64,AA==', detail: 'low' },
            ],
          },
        ],
      },
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'What is this?' },
              { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low' } },
            ],
          },
        ],
      },
    ],
    [
      'an answer with its reasoning',
      { input: [user, thought, { role: 'assistant', content: [{ type: 'output_text', text: 'Hello.' }] }, user] },
      { messages: [user, { role: 'assistant', content: 'Hello.', reasoning_content: 'Hm.' }, user] },
    ],
    [
      'calls of one turn and their results',
      {
        input: [
          user,
          call('a'),
          call('b'),
          { type: 'function_call_output', call_id: 'a', output: 'one' },
          { type: 'function_call_output', call_id: 'b', output: [{ type: 'input_text', text: 'two' }] },
        ],
      },
      {
        messages: [
          user,
          { role: 'assistant', content: null, tool_calls: [toolCall('a'), toolCall('b')] },
          { role: 'tool', tool_call_id: 'a', content: 'one' },
          { role: 'tool', tool_call_id: 'b', content: 'two' },
        ],
      },
    ],
    [
      'a call after a text, in the same message',
      { input: [user, { role: 'assistant', content: 'Let me see.' }, call('a')] },
      { messages: [user, { role: 'assistant', content: 'Let me see.', tool_calls: [toolCall('a')] }] },
    ],
    [
      'functions and the choice of one',
      { tools: [{ type: 'function', ...lookup }], tool_choice: { type: 'function', name: 'lookup' } },
      {
        tools: [{ type: 'function', function: lookup }],
        tool_choice: { type: 'function', function: { name: 'lookup' } },
      },
    ],
    [
      'a schema',
      { text: { format: { type: 'json_schema', ...schema }, verbosity: 'low' } },
      { response_format: { type: 'json_schema', json_schema: schema }, verbosity: 'low' },
    ],
    ['any JSON', { text: { format: { type: 'json_object' } } }, { response_format: { type: 'json_object' } }],
    ['how much to think', { reasoning: { effort: 'low', summary: 'auto' } }, { reasoning_effort: 'low' }],
    [
      'limits, and parameters that this server does not know',
      { max_output_tokens: 5, temperature: 0.5, top_k: 3 },
      { max_output_tokens: 5, temperature: 0.5, top_k: 3 },
    ],
    ['usage, when it streams', { stream: true }, { stream: true, stream_options: { include_usage: true } }],
  ])('contains %s', (_, body, expected) => {
    expect(convert(body)).toMatchObject(expected)
  })

  it('does not contain what only describes the response, or null', () => {
    const own = { store: true, include: ['reasoning.encrypted_content'], truncation: 'auto', metadata: { a: 'b' } }
    const absent = { previous_response_id: null, text: null, tools: [], reasoning: null, temperature: null }
    expect(convert({ ...own, ...absent })).toEqual({ model: 'm', messages: [user], retrieval: true })
  })

  it.each<[object, string]>([
    [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
    [{ conversation: 'conv_1' }, 'conversation'],
    [{ background: true }, 'background'],
    [{ prompt: { id: 'pmpt_1' } }, 'prompt'],
    [{ tools: [{ type: 'function', ...lookup }, { type: 'web_search' }] }, 'tools[1]'],
    [{ tool_choice: { type: 'file_search' } }, 'tool_choice'],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0]'],
    [{ input: [user, { type: 'computer_call' }] }, 'input[1]'],
    [{ input: [{ content: 'Hi' }] }, 'input[0].role'],
    [{ input: [{ role: 'user', content: [{}] }] }, 'input[0].content[0]'],
    [{ input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'f' }] }] }, 'input[0].content[0]'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }] }, 'input[0].content[0]'],
    [{ input: [{ type: 'function_call_output', call_id: 'a', output: [{ type: 'input_image' }] }] }, 'input[0].output'],
  ])('does not exist for %j', (body, param) => {
    const message = expect.stringMatching(new RegExp(`^${param.replaceAll(/[[\]]/g, '\\$&')}: .*\\.$`))
    expect(() => convert(body)).toThrow(
      expect.objectContaining({ status: 400, code: 'unsupported_parameter', param, message }),
    )
  })
})
