import { connect, sql } from '@repo/db'
import { LlmError, toLlm } from '@repo/llm'
import type { RetrievedPassage } from '@repo/rag'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { post, readDelta, readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { testApp } from '../testing.ts'
import { defineTool, type ToolContext, ToolError } from './tools.ts'

const contexts: ToolContext[] = []
const nothing = z.object({})
const tools = new Map(
  Object.entries({
    add: defineTool({ description: 'Adds', input: nothing, handler: async () => 2 }),
    keep: defineTool({
      description: 'Keeps its context',
      input: nothing,
      handler: async (context) => contexts.push(context),
    }),
    hold: defineTool({
      description: 'Never ends',
      input: nothing,
      handler: (context) => new Promise(() => contexts.push(context)),
    }),
    complain: defineTool({
      description: 'Fails at length',
      input: nothing,
      handler: () => Promise.reject(new ToolError('a'.repeat(100_000))),
    }),
    ask_user: defineTool({ description: 'Runs in the client', input: nothing }),
  }),
)

const model = createScriptedModel({ tools: true })
const spare = createScriptedModel({ tools: true })
const chat = { ...model.llm.chat, fallback: 'spare' }
const models = toLlm({ ...model.llm, chat })
const llm = { ...models, chatModels: new Map([...models.chatModels, ['spare', { ...spare.llm.chat, name: 'spare' }]]) }
const { app, test, alice, store, listen, close } = await testApp({ llm, tools })
const { db, close: disconnect } = connect({ url: test.databaseUrl, poolSize: 2 })
const url = await listen()
afterAll(async () => {
  await disconnect()
  await close()
})

const usage = { inputTokens: 10, outputTokens: 2, cachedInputTokens: 4 }
let asked = 0
async function call(toolName: string) {
  asked += 1
  const conversationId = `c${asked}`
  const pending = post(`${url}/chat`, alice, { message: 'What is it?', conversationId })
  const step = await model.takeAnswer()
  step.call('t0', toolName, '{}')
  step.end('tool-calls', usage)
  return { conversationId, response: await pending }
}
const read = async (id: string) => (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages
const stop = (id: string) => post(`${url}/chat/${id}/stop`, alice, {})

/** Lets an answer pause for its client, which then sends the output. */
async function goOn() {
  const { conversationId, response } = await call('ask_user')
  const id = (await readParts(response))[0]?.messageId ?? ''
  const part = { state: 'output-available', toolCallId: 't0', output: 'Ulm' }
  const body = { id: conversationId, messages: [{ id, role: 'assistant', parts: [part] }] }
  const going = post(`${url}/chat`, alice, body)
  const step = await model.takeAnswer()
  return { conversationId, id, step, going: await going }
}
const readTokens = (id: string) =>
  db.execute(sql`select status, input_tokens, output_tokens, cached_tokens from messages where id = ${id}`)

describe('an answer that went on keeps the tokens of its earlier calls', () => {
  it.each(['stopped', 'failed', 'complete'])('when it ends as %s', async (status) => {
    const { conversationId, id, step, going } = await goOn()
    step.call('t1', 'add', '{}')
    step.end('tool-calls', { inputTokens: 30, outputTokens: 1 })
    const last = await model.takeAnswer()
    last.say('Ulm')
    if (status === 'failed') last.fail(new LlmError('model_failed', 'the model aborted its answer'))
    if (status === 'stopped') await stop(conversationId)
    if (status === 'complete') last.end()
    await readParts(going)
    expect(await readTokens(id)).toEqual([{ status, input_tokens: 40, output_tokens: 3, cached_tokens: 4 }])
  })
})

it('deleting the conversation aborts a running tool and leaves nothing', async () => {
  const { conversationId, response } = await call('hold')
  await expect.poll(() => contexts.length).toBe(1)
  const [context] = contexts.splice(0)
  await app.inject({ method: 'DELETE', url: `/conversations/${conversationId}`, headers: alice })
  await expect.poll(() => context?.signal.aborted).toBe(true)
  await readParts(response)
  for (const table of ['messages', 'answer_pieces']) {
    const rows = await db.execute(sql`select from ${sql.identifier(table)} where conversation_id = ${conversationId}`)
    expect(rows, table).toEqual([])
  }
})

it.each(['keep', 'hold'])('cite() has no effect after the call of %s has ended', async (name) => {
  const { conversationId, response } = await call(name)
  await expect.poll(() => contexts.length).toBe(1)
  const [context] = contexts.splice(0)
  if (name === 'hold') await stop(conversationId)
  else await model.takeAnswer().then((step) => step.end())
  await readParts(response)
  const passage = { chunkId: crypto.randomUUID(), heading: 'Pool', text: 'Open.' } as RetrievedPassage
  expect(() => context?.cite([passage])).toThrow('The call has ended.')
  const answer = (await read(conversationId)).at(-1)
  expect(answer.sources).toEqual([])
})

it('a very long message of a ToolError is cut', async () => {
  const { conversationId, response } = await call('complain')
  const step = await model.takeAnswer()
  expect(step.request.messages.at(-1)).toMatchObject({ content: `Error: ${'a'.repeat(4000)}` })
  step.end()
  await readParts(response)
  expect((await read(conversationId)).at(-1).parts[1].errorText).toHaveLength(4000)
})

it('no fallback takes over in the second step', async () => {
  const { conversationId, response } = await call('add')
  const step = await model.takeAnswer()
  step.fail(new LlmError('model_rate_limited', 'the model is busy'))
  expect((await readParts(response)).at(-2)).toMatchObject({ type: 'error' })
  expect(spare.answers).toEqual([])
  expect((await read(conversationId)).at(-1)).toMatchObject({ status: 'failed', model: 'spoken' })
})

it('a question whose history cannot be read keeps its answer, and the next one is answered', async () => {
  const { conversationId, response } = await call('add')
  await model.takeAnswer().then((step) => step.end())
  await readParts(response)
  const before = await read(conversationId)
  vi.spyOn(store.turns, 'history').mockRejectedValueOnce(new Error('the connection is gone'))
  const messages = [{ id: before[0].id, role: 'user', parts: [{ type: 'text', text: 'What is it?' }] }]
  const body = { id: conversationId, messages, trigger: 'regenerate-message' }
  expect((await post(`${url}/chat`, alice, body)).status).toBe(500)
  expect(await read(conversationId)).toEqual(before)
  const again = post(`${url}/chat`, alice, { message: 'And now?', conversationId })
  await model.takeAnswer().then((step) => step.end())
  expect((await readParts(await again)).at(-2)).toMatchObject({ type: 'finish' })
})

it('a drain interrupts an answer that went on, with what it has', async () => {
  const { conversationId, id, step, going } = await goOn()
  step.say('Ulm, ')
  const parts = streamParts(going)
  await readDelta(parts)
  const drained = app.chat.drain(0)
  expect((await readParts(parts)).at(-2)).toEqual({ type: 'abort', reason: 'interrupted' })
  await drained
  expect((await read(conversationId)).at(-1)).toMatchObject({ content: 'Ulm, ', status: 'interrupted' })
  expect(await readTokens(id)).toMatchObject([{ status: 'interrupted', input_tokens: 10, output_tokens: 2 }])
})
