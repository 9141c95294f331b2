import { readFileSync } from 'node:fs'
import { createOpenAI } from '@ai-sdk/openai'
import { post } from '@repo/testing/ui-stream'
import { beginChunks, chunk, completion, sendChunks, sendJson, startUpstream, usageChunk } from '@repo/testing/upstream'
import { generateText, stepCountIs, streamText, tool } from 'ai'
import { Ajv2020 } from 'ajv/dist/2020.js'
import OpenAI from 'openai'
import { zodTextFormat } from 'openai/helpers/zod'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { testApp } from '../../testing.ts'

const upstream = await startUpstream()
const environment = { OPENAI_BASE_URL: upstream.url, CHAT_MODEL: 'the-model' }
const { app, alice, work, listen, close } = await testApp({ environment })
const url = await listen()
afterAll(close)

const payload = { title: 'Pool', text: 'The swimming pool is open from nine to five.' }
const { id: documentId } = (await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })).json()
await work()

/** OpenAI's description of the events that we send. */
const described = JSON.parse(readFileSync(new URL('./events.schema.json', import.meta.url), 'utf8'))
const ajv = new Ajv2020({ strict: false, allErrors: true })
ajv.addSchema(described, 'events')

function assertValid(event: { type: string }) {
  const name = Object.keys(described.$defs).find(
    (key) => described.$defs[key].properties?.type?.enum?.[0] === event.type && key.endsWith('Event'),
  )
  expect(name, `${event.type} is not described`).toBeDefined()
  const isValid = ajv.validate({ $ref: `events#/$defs/${name}` }, event)
  expect({ event, errors: isValid ? null : ajv.errors }).toEqual({ event, errors: null })
}

const model = 'the-model'
const input = 'When does the swimming pool open?'
const send = (body: object, signal?: AbortSignal) =>
  post(`${url}/v1/responses`, alice, { model, input, ...body }, signal)
const lastBody = () => Object(upstream.calls.at(-1)?.body)

const Event = z.looseObject({ type: z.string(), sequence_number: z.int() })

/** Returns the events of a stream. Each must be as OpenAI describes it. */
async function readEvents(response: Response) {
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
  const blocks = (await response.text()).trimEnd().split('\n\n')
  return blocks.map((block, index) => {
    const [, name, data = ''] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? []
    const event = Event.parse(JSON.parse(data))
    expect(event).toMatchObject({ type: name, sequence_number: index })
    assertValid(event)
    return event
  })
}

const listTypes = (events: { type: string }[]) => events.map(({ type }) => type.replace('response.', ''))
const text = (...words: string[]) => words.map((content) => chunk({ content }))
const citation = { type: 'file_citation', file_id: documentId, filename: 'Pool', index: 0 }
const call = { id: 'call_1', type: 'function', function: { name: 'lookup', arguments: '{"n":1}' } }

describe('a streamed response', () => {
  it('has reasoning, text with citations, and usage, in the order of OpenAI’s events', async () => {
    const thoughts = [chunk({ role: 'assistant', content: '' }), chunk({ reasoning_content: 'Hm.' })]
    upstream.next(sendChunks(...thoughts, ...text('At nine', ' [1].'), chunk({}, 'stop'), usageChunk))
    const events = await readEvents(await send({ stream: true }))
    const opened = ['output_item.added', 'content_part.added']
    const closed = ['content_part.done', 'output_item.done']
    expect(listTypes(events)).toEqual([
      ...['created', 'in_progress'],
      ...[...opened, 'reasoning_text.delta', 'reasoning_text.done', ...closed],
      ...[...opened, 'output_text.delta', 'output_text.delta', 'output_text.annotation.added', 'output_text.done'],
      ...[...closed, 'completed'],
    ])
    expect(events.at(-1)).toMatchObject({
      response: {
        status: 'completed',
        store: false,
        output: [
          { type: 'reasoning', content: [{ text: 'Hm.' }], status: 'completed' },
          { type: 'message', content: [{ text: 'At nine [1].', annotations: [citation] }], status: 'completed' },
        ],
        usage: { input_tokens: 7, output_tokens: 2, total_tokens: 9 },
        citations: [{ n: 1, documentId, title: 'Pool' }],
      },
    })
    expect(lastBody().messages.at(-1).content).toMatch(/open from nine to five.*\n\nWhen does/s)
  })

  it('has calls of functions, each with its arguments', async () => {
    const delta = (index: number, called: object) => chunk({ tool_calls: [{ index, ...called }] })
    upstream.next(
      sendChunks(
        delta(0, { id: 'a', function: { name: 'lookup', arguments: '{"n"' } }),
        delta(0, { function: { arguments: ':1}' } }),
        delta(1, { id: 'b', function: { name: 'now', arguments: '' } }),
        chunk({}, 'tool_calls'),
      ),
    )
    const events = await readEvents(await send({ stream: true, tools: [{ type: 'function', name: 'lookup' }] }))
    expect(events.at(-1)).toMatchObject({
      type: 'response.completed',
      response: {
        output: [
          { type: 'function_call', call_id: 'a', name: 'lookup', arguments: '{"n":1}', status: 'completed' },
          { type: 'function_call', call_id: 'b', name: 'now', arguments: '{}', status: 'completed' },
        ],
      },
    })
  })

  it.each([
    ['length', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
  ])('is incomplete when the model ends with %s', async (finish, reason) => {
    upstream.next(sendChunks(...text('At'), chunk({}, finish)))
    const events = await readEvents(await send({ stream: true }))
    const response = { status: 'incomplete', incomplete_details: { reason }, output: [{ status: 'incomplete' }] }
    expect(events.at(-1)).toMatchObject({ type: 'response.incomplete', response })
  })

  it('is cut at the limit of an answer, and the model is told to stop', async () => {
    const { alice, listen, close } = await testApp({ environment: { ...environment, MAX_ANSWER_TOKENS: '2' } })
    onTestFinished(close)
    const url = await listen()
    const before = upstream.counts.hungUp
    upstream.next((response) => void beginChunks(response, ...text('a', 'b', 'c')))
    const body = { model, input, retrieval: false, stream: true }
    const events = await readEvents(await post(`${url}/v1/responses`, alice, body))
    expect(events.at(-1)).toMatchObject({ response: { output: [{ content: [{ text: 'ab' }] }] } })
    expect(listTypes(events).at(-1)).toBe('incomplete')
    await expect.poll(() => upstream.counts.hungUp).toBe(before + 1)
  })

  it('fails in an event once it has begun, and with a status before', async () => {
    upstream.next((response) => {
      beginChunks(response, ...text('At'))
      setTimeout(() => response.destroy(), 50)
    })
    const events = await readEvents(await send({ stream: true }))
    const response = { status: 'failed', error: { code: 'server_error' }, output: [{ status: 'incomplete' }] }
    expect(events.at(-1)).toMatchObject({ type: 'response.failed', response })

    upstream.next(sendJson({ error: { message: 'no' } }, 429))
    expect((await send({ stream: true })).status).toBe(429)
  })

  it('ends the model call when its client leaves', async () => {
    const before = upstream.counts.hungUp
    upstream.next((response) => void beginChunks(response, ...text('At')))
    const controller = new AbortController()
    const response = await send({ stream: true }, controller.signal)
    await response.body?.getReader().read()
    controller.abort()
    await expect.poll(() => upstream.counts.hungUp).toBe(before + 1)
  })
})

describe('a whole response', () => {
  it('has the same output', async () => {
    const message = { reasoning_content: 'Hm.', content: 'At nine [1].', tool_calls: [call] }
    upstream.next(sendJson(completion(message, 'tool_calls')))
    const response = await (await send({ instructions: 'Be short.', metadata: { team: 'ops' } })).json()
    assertValid(Object({ type: 'response.completed', sequence_number: 0, response }))
    expect(response).toMatchObject({
      object: 'response',
      status: 'completed',
      instructions: 'Be short.',
      metadata: { team: 'ops' },
      output: [
        { type: 'reasoning', content: [{ text: 'Hm.' }] },
        { type: 'message', content: [{ text: 'At nine [1].', annotations: [citation] }] },
        { type: 'function_call', call_id: 'call_1', name: 'lookup', arguments: '{"n":1}' },
      ],
      usage: { input_tokens: 7, output_tokens: 2, total_tokens: 9 },
      citations: [{ documentId }],
    })
  })

  it.each([
    [{ previous_response_id: 'resp_1' }, 'unsupported_parameter', 'previous_response_id'],
    [{ tools: [{ type: 'web_search' }] }, 'unsupported_parameter', 'tools[0]'],
    [{ input: 5 }, 'invalid_request', 'input'],
    [{ input: [{ role: 'user', content: 5 }] }, 'invalid_request', 'input'],
    [{ input: ' ' }, 'invalid_request', null],
  ])('is refused for %j', async (body, code, param) => {
    const response = await send(body)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code, param } })
  })

  it('needs a known model', async () => {
    expect((await send({ model: 'nothing' })).status).toBe(404)
  })

  it('limits its documents', async () => {
    upstream.next(sendJson(completion({ content: 'No.' })))
    expect(await (await send({ filter: { team: 'ops' } })).json()).toMatchObject({ citations: [] })
    upstream.next(sendJson(completion({ content: 'No.' })))
    expect(await (await send({ retrieval: false })).json()).not.toHaveProperty('citations')
    expect(lastBody()).not.toHaveProperty('retrieval')
  })
})

describe('OpenAI’s client', () => {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: alice.authorization.replace('Bearer ', ''), maxRetries: 0 })

  it('creates and streams', async () => {
    upstream.next(sendJson(completion({ content: 'At nine [1].' })))
    expect((await client.responses.create({ model, input })).output_text).toBe('At nine [1].')
    upstream.next(sendChunks(...text('At ', 'nine.'), chunk({}, 'stop')))
    const stream = client.responses.stream({ model, input })
    const deltas: string[] = []
    stream.on('response.output_text.delta', ({ delta }) => void deltas.push(delta))
    expect((await stream.finalResponse()).output_text).toBe('At nine.')
    expect(deltas).toEqual(['At ', 'nine.'])
  })

  it('parses with a schema', async () => {
    upstream.next(sendJson(completion({ content: '{"hour":9}' })))
    const format = zodTextFormat(z.object({ hour: z.number() }), 'opening')
    const { output_parsed: parsed } = await client.responses.parse({ model, input, text: { format } })
    expect(parsed).toEqual({ hour: 9 })
    expect(lastBody().response_format).toMatchObject({ type: 'json_schema', json_schema: { name: 'opening' } })
  })

  it('calls functions in a loop', async () => {
    const tools = [{ type: 'function' as const, name: 'lookup', parameters: { type: 'object' }, strict: false }]
    upstream.next(sendJson(completion({ content: null, tool_calls: [call] }, 'tool_calls')))
    const first = await client.responses.create({ model, input, tools })
    const output = { type: 'function_call_output' as const, call_id: 'call_1', output: 'nine' }
    upstream.next(sendJson(completion({ content: 'At nine.' })))
    const asked = { role: 'user' as const, content: input }
    const next = [asked, ...first.output, output] as OpenAI.Responses.ResponseInput
    expect((await client.responses.create({ model, tools, input: next })).output_text).toBe('At nine.')
    expect(lastBody().messages.slice(-2)).toEqual([
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call_1', content: 'nine' },
    ])
  })
})

describe('the AI SDK', () => {
  const apiKey = alice.authorization.replace('Bearer ', '')
  const chosen = createOpenAI({ baseURL: `${url}/v1`, apiKey })(model)
  const lookup = tool({ inputSchema: z.object({ n: z.number() }), execute: async () => 'nine' })

  it('generates a text with sources', async () => {
    upstream.next(sendJson(completion({ content: 'At nine [1].' })))
    const { text, sources, usage } = await generateText({ model: chosen, prompt: input })
    expect({ text, usage }).toMatchObject({ text: 'At nine [1].', usage: { inputTokens: 7, outputTokens: 2 } })
    expect(sources).toMatchObject([{ sourceType: 'document', filename: 'Pool' }])
  })

  it('streams a text after the call of a tool', async () => {
    upstream.next(sendChunks(chunk({ tool_calls: [{ index: 0, ...call }] }), chunk({}, 'tool_calls')))
    upstream.next(sendChunks(...text('At ', 'nine.'), chunk({}, 'stop'), usageChunk))
    const result = streamText({ model: chosen, prompt: input, tools: { lookup }, stopWhen: stepCountIs(2) })
    expect(await result.text).toBe('At nine.')
    expect(lastBody().messages.slice(-2)).toMatchObject([
      { role: 'assistant', tool_calls: [{ function: { name: 'lookup' } }] },
      { role: 'tool', content: 'nine' },
    ])
  })
})
