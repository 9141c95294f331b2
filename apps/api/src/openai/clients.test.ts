import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { post } from '@repo/testing/ui-stream'
import { beginChunks, chunk, completion, sendChunks, sendJson, startUpstream, usageChunk } from '@repo/testing/upstream'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

// Requests as Open WebUI, LibreChat and curl send them. Their schemas come from the sources named at each place.

const upstream = await startUpstream()
const environment = { OPENAI_BASE_URL: upstream.url, CHAT_MODEL: 'the-model' }
const { app, alice, work, listen, close } = await testApp({ environment })
const url = await listen()
afterAll(close)

const payload = { title: 'Pool', text: 'The swimming pool is open from nine to five.' }
await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
await work()

const answer = [chunk({ role: 'assistant', content: '' }), chunk({ content: 'At nine [1].' }), chunk({}, 'stop')]
const passages = { type: 'text', text: expect.stringContaining('open from nine to five') }
const lastBody = () => Object(upstream.calls.at(-1)?.body)
const send = (body: object, headers = {}, signal?: AbortSignal) =>
  post(`${url}/v1/chat/completions`, { ...alice, ...headers }, body, signal)

/** Returns the chunks of a stream, which must end as OpenAI's do. */
async function readChunks(response: Response) {
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
  const events = (await response.text()).trimEnd().split('\n\n')
  expect(events.pop()).toBe('data: [DONE]')
  return events.map((event) => JSON.parse(event.replace('data: ', '')))
}

/** open-webui/open-webui, backend/open_webui/routers/openai.py at 671f577: requests to servers other than OpenAI's. */
describe('Open WebUI', () => {
  const headers = {
    'x-openwebui-user-name': 'Ada%20L',
    'x-openwebui-user-id': '0b1c',
    'x-openwebui-user-email': 'ada@example.org',
    'x-openwebui-user-role': 'user',
    'x-openwebui-chat-id': '5a4e',
  }
  /** src/lib/components/chat/Chat.svelte at 002b16d, `sendPromptSocket`. The backend does not forward `metadata`. */
  const chat = {
    stream: true,
    model: 'the-model',
    messages: [
      { role: 'system', content: 'Answer Ada.\n\nUser Context:\n1. [2026-01-02]. Swims\n' },
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: 'Hi!' },
      { role: 'user', content: 'When does the pool open?' },
    ],
    stream_options: { include_usage: true },
    temperature: 0.7,
    stop: ['###'],
    max_tokens: 512,
  }

  it('chats with streaming and usage; its system message and our instructions are merged into one', async () => {
    upstream.next(sendChunks(...answer, usageChunk))
    const chunks = await readChunks(await send(chat, headers))
    expect(chunks).toEqual([
      { ...answer[0], citations: [expect.objectContaining({ title: 'Pool' })] },
      ...answer.slice(1),
      usageChunk,
    ])
    const [system, ...rest] = lastBody().messages
    expect(system.content).toMatch(/^Answer Ada\..*Passages are data/s)
    expect(lastBody()).toMatchObject({ ...chat, messages: [{ role: 'system' }, ...rest] })
    expect(rest.slice(0, -1)).toEqual(chat.messages.slice(1, -1))
    expect(rest.at(-1).content).toMatch(/open from nine to five.*\n\nWhen does the pool open\?$/s)
    expect(JSON.stringify(upstream.calls.at(-1)?.headers)).not.toMatch(/openwebui|Ada/)
  })

  it('sends images with the text', async () => {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }
    const content = [{ type: 'text', text: 'When does this pool open?' }, image]
    upstream.next(sendChunks(...answer))
    await readChunks(await send({ ...chat, messages: [{ role: 'user', content }], stream_options: undefined }))
    expect(lastBody().messages.at(-1)).toEqual({ role: 'user', content: [passages, ...content] })
  })

  /**
   * backend/open_webui/routers/tasks.py at 074d488, `generate_title`, after openai.py has renamed
   * `max_completion_tokens`.
   */
  it('generates a title without streaming', async () => {
    const content =
      '### Task:\nGenerate a concise, 3-5 word title.\n### Chat History:\n<chat_history>\nUSER: Hello\n</chat_history>'
    const title = { model: 'the-model', messages: [{ role: 'user', content }], stream: false, max_tokens: 1000 }
    upstream.next(sendJson(completion({ content: '{ "title": "🏊 Pool Hours" }' })))
    const response = await send(title, headers)
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: '{ "title": "🏊 Pool Hours" }' } }] })
    expect(lastBody()).toMatchObject({ ...title, messages: [{ role: 'system' }, { role: 'user' }] })
    expect(lastBody().messages[1].content.endsWith(`\n\n${content}`)).toBe(true)
  })

  it('lists the models, using `data[].id`', async () => {
    const response = await fetch(`${url}/v1/models`, { headers: { ...alice, ...headers } })
    const list: unknown = await response.json()
    expect(list).toMatchObject({ object: 'list', data: [{ id: 'the-model' }, { id: 'offline-384' }] })
  })

  it('shows `error.message` of a failure', async () => {
    upstream.next(sendJson({}, 500))
    const response = await send(chat, headers)
    expect(response.status).toBe(502)
    expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining('Try again') } })
  })

  it('stops by closing its connection, which cancels the model call', async () => {
    upstream.next((response) => beginChunks(response, ...answer.slice(0, 2)))
    const { hungUp } = upstream.counts
    const abort = new AbortController()
    const response = await send(chat, headers, abort.signal)
    await response.body?.getReader().read()
    abort.abort()
    await expect.poll(() => upstream.counts.hungUp).toBe(hungUp + 1)
  })
})

/**
 * danny-avila/LibreChat, packages/api/src/endpoints/openai/llm.ts at f31d896: options of LangChain's ChatOpenAI.
 * langchain-ai/langchainjs, libs/providers/langchain-openai/src/chat_models/completions.ts at 03562e1 sends them.
 */
describe('LibreChat', () => {
  const calculator = {
    type: 'function',
    function: {
      name: 'calculator',
      description: 'Computes',
      parameters: { type: 'object', properties: { input: { type: 'string' } }, required: ['input'] },
    },
  }
  const question = [{ type: 'text', text: 'When does the pool open, and what is 2 + 2?' }]
  const chat = {
    model: 'the-model',
    temperature: 1,
    top_p: 1,
    frequency_penalty: 0,
    presence_penalty: 0,
    user: '66f0c0ffee',
    stream: true,
    stream_options: { include_usage: true },
    reasoning_effort: 'low',
    tools: [calculator],
    messages: [
      { role: 'system', content: 'Be exact.' },
      { role: 'user', content: question },
    ],
  }
  const call = { id: 'call_1', type: 'function', function: { name: 'calculator', arguments: '{"input":"2 + 2"}' } }

  it('chats with tools: the call arrives in deltas, and its result is sent back', async () => {
    const { function: called, ...named } = call
    const calling = [
      chunk({ role: 'assistant', content: null, reasoning_content: 'Compute.' }),
      chunk({ tool_calls: [{ index: 0, ...named, function: { ...called, arguments: '' } }] }),
      chunk({ tool_calls: [{ index: 0, function: { arguments: called.arguments } }] }),
      chunk({}, 'tool_calls'),
      usageChunk,
    ]
    upstream.next(sendChunks(...calling))
    const [first, ...rest] = await readChunks(await send(chat))
    expect(first).toMatchObject({ ...calling[0], citations: [{ title: 'Pool' }] })
    expect(rest).toEqual(calling.slice(1))

    const results = [
      { role: 'assistant', content: '', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call_1', name: 'calculator', content: '4' },
    ]
    upstream.next(sendChunks(...answer, usageChunk))
    await readChunks(await send({ ...chat, messages: [...chat.messages, ...results] }))
    const [system, ...others] = lastBody().messages
    expect(system.content).toMatch(/^Be exact\..*Passages are data/s)
    expect(others).toEqual([{ role: 'user', content: [passages, ...question] }, ...results])
    expect(lastBody()).toMatchObject({ tools: [calculator], user: '66f0c0ffee', reasoning_effort: 'low' })
  })

  /**
   * danny-avila/agents, src/utils/title.ts at d8751a6: `withStructuredOutput` defines a function that must be called.
   */
  it('generates a title as the arguments of a function', async () => {
    const title = {
      model: 'the-model',
      stream: false,
      messages: [{ role: 'user', content: 'Analyze this conversation and provide:\n1. …\n\nUser: Hello' }],
      tools: [{ ...calculator, function: { ...calculator.function, name: 'extract' } }],
      tool_choice: { type: 'function', function: { name: 'extract' } },
      parallel_tool_calls: false,
    }
    const extracted = {
      ...call,
      function: { name: 'extract', arguments: '{"title":"Pool Hours","language":"English"}' },
    }
    upstream.next(sendJson(completion({ content: null, tool_calls: [extracted] }, 'tool_calls')))
    const response = await send(title)
    expect(await response.json()).toMatchObject({ choices: [{ message: { tool_calls: [extracted] } }] })
    expect(lastBody()).toMatchObject({ tool_choice: title.tool_choice, parallel_tool_calls: false })
  })

  /** packages/api/src/endpoints/models.ts at 003bf57, `fetchModels` with `userIdQuery`. */
  it('lists the models, using `data[].id`', async () => {
    const response = await fetch(`${url}/v1/models?user=66f0c0ffee`, { headers: alice })
    expect(await response.json()).toMatchObject({ data: [{ id: 'the-model' }, { id: 'offline-384' }] })
  })
})

describe('curl', () => {
  const run = promisify(execFile)
  const json = 'content-type: application/json'
  const start = (path: string, body: object, options: string[], signal?: AbortSignal) => {
    const key = `authorization: ${alice.authorization}`
    const args = ['-sSN', ...options, `${url}/v1${path}`, '-H', key, '-H', json, '-d', JSON.stringify(body)]
    return run('curl', args, { signal })
  }
  const curl = async (path: string, body: object, ...options: string[]) => (await start(path, body, options)).stdout
  const body = { model: 'the-model', messages: [{ role: 'user', content: 'When does the pool open?' }], stream: true }

  it('shows the stream as it arrives', async () => {
    upstream.next(sendChunks(...answer))
    const events = (await curl('/chat/completions', body)).trimEnd().split('\n\n')
    expect(events.map((event) => event.slice(0, 6))).toEqual(events.map(() => 'data: '))
    expect(events.slice(1)).toEqual([
      ...answer.slice(1).map((chunk) => `data: ${JSON.stringify(chunk)}`),
      'data: [DONE]',
    ])
  })

  it('shows an error with its status, and an error in the stream', async () => {
    const format = ['-w', '\n%{http_code} %{header_json}']
    upstream.next(sendJson({}, 429, { 'retry-after': '7' }))
    const [error = '', told = ''] = (await curl('/chat/completions', body, ...format)).split('\n', 2)
    expect(JSON.parse(error)).toMatchObject({ error: { code: 'model_rate_limited', type: 'rate_limit_error' } })
    expect(told).toMatch(/^429 /)
    upstream.next((response) => beginChunks(response, ...answer.slice(0, 2)).destroy())
    const events = (await curl('/chat/completions', body)).trimEnd().split('\n\n')
    expect(events.at(-1)).toMatch(/^data: \{"error":\{"message":".*"code":"model_unreachable"\}\}$/)
  })

  it('disconnects, which cancels the model call', async () => {
    const leaving = new AbortController()
    upstream.next((response) => {
      beginChunks(response, ...answer.slice(0, 2))
      leaving.abort()
    })
    const { hungUp } = upstream.counts
    await expect(start('/chat/completions', body, [], leaving.signal)).rejects.toMatchObject({ name: 'AbortError' })
    await expect.poll(() => upstream.counts.hungUp).toBe(hungUp + 1)
  })
})
