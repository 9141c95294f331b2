import { once } from 'node:events'
import { createServer } from 'node:http'
import { sql } from '@repo/db'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { listTypes, post, readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { testApp } from '../testing.ts'
import { defineTool, ToolError } from './tools.ts'

const held = { release: () => {} }
const server = createServer((_, response) => response.end('reached')).listen(0, '127.0.0.1')
await once(server, 'listening')
const elsewhere = `http://127.0.0.1:${Object(server.address()).port}/`

const number = z.object({ a: z.number(), b: z.number().default(1) })
const nothing = z.object({})
const tools = new Map(
  Object.entries({
    add: defineTool({ description: 'Adds', input: number, handler: async (_, { a, b }) => ({ sum: a + b }) }),
    refuse: defineTool({
      description: 'Refuses',
      input: nothing,
      handler: () => Promise.reject(new ToolError('Closed on Sunday.')),
    }),
    break: defineTool({
      description: 'Breaks',
      input: nothing,
      handler: () => Promise.reject(new Error('password=secret')),
    }),
    flood: defineTool({ description: 'Floods', input: nothing, handler: async () => 'a'.repeat(64_001) }),
    whoami: defineTool({ description: 'Knows the owner', input: nothing, handler: async ({ owner }) => owner }),
    hold: defineTool({
      description: 'Waits',
      input: nothing,
      handler: ({ signal }) =>
        new Promise((resolve, reject) => {
          held.release = () => resolve('released')
          signal.addEventListener('abort', () => reject(signal.reason))
        }),
    }),
    fetch_in_transaction: defineTool({
      description: 'Holds a connection',
      input: nothing,
      handler: ({ db }) =>
        db.transaction(async (tx) => {
          await tx.execute(sql`select 1`)
          return (await fetch(elsewhere)).text()
        }),
    }),
    ask_user: defineTool({ description: 'Runs in the client', input: nothing }),
    photograph: defineTool({ description: 'Runs in the client, if approved', input: nothing, needsApproval: true }),
    pay: defineTool({
      description: 'Needs approval',
      input: z.object({ euros: z.number() }),
      needsApproval: ({ euros }) => euros > 10,
      handler: async (_, { euros }) => ({ paid: euros }),
    }),
  }),
)

const model = createScriptedModel({ tools: true })
const { app, alice, store, listen, close } = await testApp({ llm: model.llm, tools })
const url = await listen()
afterAll(async () => {
  await close()
  server.close()
})

let asked = 0
function send() {
  asked += 1
  const conversationId = `c${asked}`
  return { conversationId, response: post(`${url}/chat`, alice, { message: 'What is it?', conversationId }) }
}

async function ask() {
  const { conversationId, response } = send()
  return { conversationId, parts: response.then(readParts) }
}

/** Lets the model call tools and then answer. Returns the events, the stored answer, and what the model got back. */
async function callTools(...calls: [toolName: string, input: string][]) {
  const { conversationId, parts } = await ask()
  const first = await model.takeAnswer()
  for (const [index, [toolName, input]] of calls.entries()) first.call(`t${index}`, toolName, input)
  first.end('tool-calls')
  const second = await model.takeAnswer()
  second.say('Done.')
  second.end()
  return { events: await parts, stored: await readAnswer(conversationId), messages: second.request.messages }
}

const readAnswer = async (id: string) =>
  (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages.at(-1)

describe('a tool call', () => {
  it('is streamed, stored and answered to the model', async () => {
    const { events, stored, messages } = await callTools(['add', '{"a":2}'])
    expect(listTypes(events)).toEqual([
      ...['start', 'data-conversation', 'start-step', 'tool-input-available', 'tool-output-available', 'finish-step'],
      ...['start-step', 'text-start', 'text-delta', 'text-end', 'finish-step', 'finish', '[DONE]'],
    ])
    expect(events.find(({ type }) => type === 'tool-input-available')).toMatchObject({
      toolName: 'add',
      input: { a: 2 },
    })
    expect(stored.parts).toEqual([
      { type: 'step-start' },
      { type: 'tool-add', toolCallId: 't0', state: 'output-available', input: { a: 2 }, output: { sum: 3 } },
      { type: 'step-start' },
      { type: 'text', text: 'Done.', state: 'done' },
    ])
    expect(stored).toMatchObject({ content: 'Done.', status: 'complete' })
    expect(messages.slice(-2)).toEqual([
      { role: 'assistant', content: '', toolCalls: [{ toolCallId: 't0', toolName: 'add', input: '{"a":2}' }] },
      { role: 'tool', toolCallId: 't0', content: '{"sum":3}' },
    ])
  })

  it.each([
    ['with an input that does not match', 'add', '{"a":"two"}', /^The input is invalid\..*number/s],
    ['with an input that is not JSON', 'add', '{"a":', /^The input is invalid\./],
    ['of an unknown tool', 'subtract', '{}', /^There is no tool named "subtract"\.$/],
    ['that the tool refuses', 'refuse', '{}', /^Closed on Sunday\.$/],
    ['whose tool fails', 'break', '{}', /^The tool failed\.$/],
    ['with a result that is too long', 'flood', '{}', /^The result is too long: 64003 characters/],
    ['whose tool calls a server inside a transaction', 'fetch_in_transaction', '{}', /^The tool failed\.$/],
  ])('%s becomes an error for the model, and the answer goes on', async (_, name, input, errorText) => {
    const { events, stored, messages } = await callTools([name, input])
    const error = events.find(({ type }) => type === 'tool-output-error')
    expect(error?.errorText).toMatch(errorText)
    expect(stored).toMatchObject({ content: 'Done.', status: 'complete' })
    expect(stored.parts[1]).toMatchObject({ state: 'output-error', errorText: error?.errorText })
    expect(messages.at(-1)).toMatchObject({ role: 'tool', content: `Error: ${error?.errorText}` })
    expect(JSON.stringify([events, stored])).not.toMatch(/secret|reached/)
  })

  it('runs beside others, as its owner', async () => {
    const { stored } = await callTools(['whoami', '{}'], ['add', '{"a":1}'], ['add', '{"a":5,"b":5}'])
    const outputs = stored.parts.flatMap(({ output }: { output?: unknown }) => output ?? [])
    expect(outputs).toEqual([await store.owners.ensure('alice'), { sum: 2 }, { sum: 10 }])
  })

  it('keeps its own result when a later step uses its id again', async () => {
    const { conversationId, parts } = await ask()
    for (const input of ['{"a":1}', '{"a":2}']) {
      const step = await model.takeAnswer()
      step.call('0', 'add', input)
      step.end('tool-calls')
    }
    const last = await model.takeAnswer()
    last.end()
    await parts
    const stored = await readAnswer(conversationId)
    const outputs = stored.parts.flatMap(({ output }: { output?: unknown }) => output ?? [])
    expect(outputs).toEqual([{ sum: 2 }, { sum: 3 }])
  })

  it('ends with the answer when that is stopped', async () => {
    const { conversationId, parts } = await ask()
    const first = await model.takeAnswer()
    first.call('t0', 'hold', '{}')
    first.end('tool-calls')
    await expect.poll(async () => (await readAnswer(conversationId)).parts.at(-1)?.state).toBe('input-available')
    await post(`${url}/chat/${conversationId}/stop`, alice, {})
    expect(listTypes(await parts).slice(-2)).toEqual(['abort', '[DONE]'])
    expect(await readAnswer(conversationId)).toMatchObject({ status: 'stopped' })
  })
})

it('a step that ends with calls but contains none ends the answer', async () => {
  const { parts } = await ask()
  const first = await model.takeAnswer()
  first.say('Done.')
  first.end('tool-calls')
  expect((await parts).at(-2)).toMatchObject({ type: 'finish', finishReason: 'other' })
})

describe('the last step', () => {
  it('may call no tool, and what it calls all the same is left out', async () => {
    const { conversationId, parts } = await ask()
    const requests: boolean[] = []
    for (let step = 1; step <= 5; step += 1) {
      const answer = await model.takeAnswer()
      requests.push(answer.request.mustAnswer ?? false)
      answer.call(`t${step}`, 'add', '{"a":1}')
      answer.end('tool-calls')
    }
    expect(requests).toEqual([false, false, false, false, true])
    expect((await parts).at(-2)).toMatchObject({ type: 'finish', finishReason: 'other' })
    const { parts: stored } = await readAnswer(conversationId)
    expect(stored.filter(({ type }: { type: string }) => type === 'tool-add')).toHaveLength(4)
  })
})

describe('a call that is left to the client', () => {
  const goOn = (conversationId: string, id: string, part: object) => {
    const messages = [{ id, role: 'assistant', parts: [{ type: 'step-start' }, part] }]
    return post(`${url}/chat`, alice, { id: conversationId, messages, trigger: 'submit-message', messageId: id })
  }
  /** Lets the model call one tool, after which the answer waits. */
  async function wait(name: string, input: string) {
    const { conversationId, parts } = await ask()
    const first = await model.takeAnswer()
    first.call('t0', name, input)
    first.end('tool-calls')
    const events = await parts
    expect(events.at(-2)).toMatchObject({ type: 'finish', finishReason: 'tool-calls' })
    return { conversationId, id: events[0]?.messageId ?? '', events }
  }

  it('pauses the answer, which goes on with its output', async () => {
    const { conversationId, id } = await wait('ask_user', '{}')
    const output = { state: 'output-available', toolCallId: 't0', output: { city: 'Ulm' } }
    const going = goOn(conversationId, id, { type: 'tool-ask_user', ...output })
    const second = await model.takeAnswer()
    expect(second.request.messages.at(-1)).toEqual({ role: 'tool', toolCallId: 't0', content: '{"city":"Ulm"}' })
    expect(second.request.messages.at(-3)).toMatchObject({ role: 'user', content: 'What is it?' })
    second.say('Ulm.')
    second.end()
    const events = await readParts(await going)
    expect(events[0]).toMatchObject({ type: 'start', messageId: id })
    expect(listTypes(events).slice(2)).toEqual([
      ...['tool-output-available', 'finish-step', 'start-step', 'text-start', 'text-delta', 'text-end', 'finish-step'],
      ...['finish', '[DONE]'],
    ])
    const stored = await readAnswer(conversationId)
    expect(stored).toMatchObject({ id, content: 'Ulm.', status: 'complete' })
    expect(stored.parts[1]).toMatchObject({ state: 'output-available', output: { city: 'Ulm' } })

    const again = await goOn(conversationId, id, { type: 'tool-ask_user', ...output })
    expect(await again.json()).toMatchObject({ status: 409, code: 'answer_not_waiting' })
  })

  it('needs its output: 400 names the missing one, and the answer still waits', async () => {
    const { conversationId, id } = await wait('ask_user', '{}')
    const refused = await goOn(conversationId, id, { type: 'text', text: 'Never mind.' })
    expect(await refused.json()).toMatchObject({
      status: 400,
      code: 'tool_output_missing',
      detail: expect.stringContaining('ask_user'),
    })
    const going = goOn(conversationId, id, { state: 'output-error', toolCallId: 't0', errorText: 'Closed.' })
    const second = await model.takeAnswer()
    expect(second.request.messages.at(-1)).toMatchObject({ content: 'Error: Closed.' })
    second.end()
    await readParts(await going)
  })

  it.each([
    [true, { state: 'output-available', output: { paid: 50 } }],
    [false, { state: 'output-denied' }],
  ])('runs only after its approval: %s', async (approved, expected) => {
    const { conversationId, id, events } = await wait('pay', '{"euros":50}')
    const request = events.find(({ type }) => type === 'tool-approval-request')
    const approval = { id: String(request?.approvalId), approved }
    const forged = await goOn(conversationId, id, { state: 'output-available', toolCallId: 't0', output: { paid: 0 } })
    expect(await forged.json()).toMatchObject({ code: 'tool_output_missing' })
    const going = goOn(conversationId, id, { state: 'approval-responded', toolCallId: 't0', approval })
    const second = await model.takeAnswer()
    second.end()
    await readParts(await going)
    expect((await readAnswer(conversationId)).parts[1]).toMatchObject(expected)
  })

  it('still waits after an approval, also if that is sent twice', async () => {
    const { conversationId, id, events } = await wait('photograph', '{}')
    const request = events.find(({ type }) => type === 'tool-approval-request')
    const approval = { id: String(request?.approvalId), approved: true }
    for (const _ of [1, 2]) {
      const going = await goOn(conversationId, id, { state: 'approval-responded', toolCallId: 't0', approval })
      const parts = await readParts(going)
      expect(parts).toContainEqual(expect.objectContaining({ type: 'tool-input-available', toolName: 'photograph' }))
      expect(parts.at(-2)).toMatchObject({ type: 'finish', finishReason: 'tool-calls' })
    }
    const going = goOn(conversationId, id, { state: 'output-available', toolCallId: 't0', output: 'a cat' })
    const second = await model.takeAnswer()
    expect(second.request.messages.at(-1)).toMatchObject({ role: 'tool', content: 'a cat' })
    second.end()
    await readParts(await going)
    expect((await readAnswer(conversationId)).parts[1]).toMatchObject({ state: 'output-available', output: 'a cat' })
  })

  it('needs no approval below the limit', async () => {
    const { stored } = await callTools(['pay', '{"euros":5}'])
    expect(stored.parts[1]).toMatchObject({ state: 'output-available', output: { paid: 5 } })
  })
})

it('the input of a call is streamed while the model writes it', async () => {
  const { response } = send()
  const first = await model.takeAnswer()
  first.write({ type: 'tool-input-start', toolCallId: 't0', toolName: 'add' })
  first.write({ type: 'tool-input-delta', toolCallId: 't0', delta: '{"a"' })
  const events = streamParts(await response)
  const types: string[] = []
  for await (const { type } of events) if (types.push(type) && type === 'tool-input-delta') break
  expect(types.slice(-3)).toEqual(['start-step', 'tool-input-start', 'tool-input-delta'])
  first.end()
})
