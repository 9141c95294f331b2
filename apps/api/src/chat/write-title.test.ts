import { LlmError } from '@repo/llm'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { post, readParts } from '@repo/testing/ui-stream'
import { pino } from 'pino'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'
import { cleanTitle } from './write-title.ts'

const environment = { CHAT_MODEL: 'spoken', OPENAI_API_KEY: 'none', CONVERSATION_TITLES: 'model' }

/** Starts an app whose model is scripted and writes titles. `logs` are its log lines. */
async function openApp(variables: Record<string, string> = environment) {
  const model = createScriptedModel()
  const logs: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line) => void logs.push(line) })
  const { app, store, alice, listen, close } = await testApp({ llm: model.llm, environment: variables, logger })
  const url = await listen()
  /** Asks a question and returns the parts of its answer, which has ended. */
  async function converse(conversationId: string, message: string, answer = 'an answer', body: object = {}) {
    const pending = post(`${url}/chat`, alice, { message, conversationId, ...body })
    const call = await model.takeAnswer()
    call.say(answer)
    call.end()
    return readParts(await pending)
  }
  const readTitle = async (id: string): Promise<string> =>
    (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().title
  const rename = (id: string, title: string) =>
    app.inject({ method: 'PATCH', url: `/conversations/${id}`, headers: alice, payload: { title } })
  return { app, store, alice, model, url, logs, converse, readTitle, rename, close }
}

describe('the title', async () => {
  const { app, alice, model, url, logs, converse, readTitle, rename, close } = await openApp()
  afterAll(close)

  it('is written after the first answer has ended, from its question and text', async () => {
    const parts = await converse('herons', 'What do herons eat?', 'They eat fish.')
    expect(parts.at(-1)?.type).toBe('[DONE]')
    const call = await model.takeAnswer()
    expect(JSON.stringify(call.request.messages)).toContain('What do herons eat?')
    expect(JSON.stringify(call.request.messages)).toContain('They eat fish.')
    expect(await readTitle('herons')).toBe('What do herons eat?')
    call.say('"The diet of herons"')
    call.end()
    await expect.poll(() => readTitle('herons')).toBe('The diet of herons')
    expect(logs).toEqual([])
  })

  it('takes one line, then the call is cancelled', async () => {
    await converse('endless', 'a question')
    const call = await model.takeAnswer()
    call.think('Let me think.\n\n')
    call.say('Herons\nand more')
    await expect.poll(() => readTitle('endless')).toBe('Herons')
    call.say(' and more')
    expect(await readTitle('endless')).toBe('Herons')
  })

  it('takes the beginning of a long question and answer', async () => {
    await converse('long', 'q'.repeat(30_000), 'a'.repeat(30_000))
    const call = await model.takeAnswer()
    expect(JSON.stringify(call.request.messages).length).toBeLessThan(5000)
    call.end()
  })

  it('of the owner wins', async () => {
    await converse('renamed', 'a question')
    const call = await model.takeAnswer()
    await rename('renamed', 'My own title')
    call.say("The model's title")
    call.end()
    await converse('later', 'a question')
    const later = await model.takeAnswer()
    later.say('Later')
    later.end()
    await expect.poll(() => readTitle('later')).toBe('Later')
    expect(await readTitle('renamed')).toBe('My own title')
  })

  it('is not written again after the second answer', async () => {
    await converse('twice', 'a question')
    const call = await model.takeAnswer()
    call.say('Once')
    call.end()
    await expect.poll(() => readTitle('twice')).toBe('Once')
    await converse('twice', 'another question')
    expect(model.answers).toEqual([])
  })

  it('is not written for an answer that was stopped or that failed', async () => {
    const stopped = post(`${url}/chat`, alice, { message: 'stop', conversationId: 'stopped' })
    const first = await model.takeAnswer()
    first.say('half')
    const response = await stopped
    await app.inject({ method: 'POST', url: '/chat/stopped/stop', headers: alice })
    await readParts(response)
    const failed = post(`${url}/chat`, alice, { message: 'fail', conversationId: 'failed' })
    const second = await model.takeAnswer()
    second.fail(new LlmError('model_failed', 'the model failed'))
    await failed
    await converse('next', 'a question') // its title is the next call of the model
    const next = await model.takeAnswer()
    expect(JSON.stringify(next.request.messages)).toContain('an answer')
    next.end()
    expect(model.answers).toEqual([])
  })

  it('stays the question if the model fails, with a warning in the log', async () => {
    logs.length = 0
    await converse('unlucky', 'a question')
    const call = await model.takeAnswer()
    call.fail(new LlmError('model_failed', 'the model failed'))
    await expect.poll(() => logs.map((line) => JSON.parse(line).msg)).toEqual(['a title could not be written'])
    expect(await readTitle('unlucky')).toBe('a question')
  })

  it('is no answer in the metrics', async () => {
    const count = async () => {
      const { body } = await app.inject({ url: '/metrics', headers: alice })
      return Number(/^sluice_answers_total\{status="complete"\} (\d+)/m.exec(body)?.[1])
    }
    const before = await count()
    await converse('counted', 'a question')
    const call = await model.takeAnswer()
    call.say('Counted')
    call.end()
    await expect.poll(() => readTitle('counted')).toBe('Counted')
    expect(await count()).toBe(before + 1)
  })
})

it('a title that is being written ends at shutdown, without a warning', async () => {
  const { model, logs, converse, close } = await openApp()
  await converse('herons', 'What do herons eat?')
  const call = await model.takeAnswer()
  await close()
  expect(call.request.signal.aborted).toBe(true)
  expect(logs.filter((line) => line.includes('title'))).toEqual([])
})

it.each([
  ['CONVERSATION_TITLES=question', { ...environment, CONVERSATION_TITLES: 'question' }],
  ['no CHAT_MODEL', { CONVERSATION_TITLES: 'model' }],
])('no model writes a title: %s', async (_, variables) => {
  const { model, converse, readTitle, close } = await openApp(variables)
  onTestFinished(close)
  await converse('herons', 'What do herons eat?')
  await converse('herons', 'And egrets?')
  expect(model.answers).toEqual([])
  expect(await readTitle('herons')).toBe('What do herons eat?')
})

it.each([
  ['Herons', 'Herons'],
  ['"The diet of herons."', 'The diet of herons'],
  ['**Title: The diet of herons**\n\nMore text', 'The diet of herons'],
  ['# Der Speiseplan der Reiher', 'Der Speiseplan der Reiher'],
  ['「サギの食事」', 'サギの食事'],
  ['<think>The user asks\nabout herons.</think>\n\nHerons', 'Herons'],
  ['<think>The user asks', ''],
  ['What is Node.js?', 'What is Node.js?'],
  [' \n ', ''],
  ['a\u0000b', 'a\ufffdb'],
  ['🏊'.repeat(100), '🏊'.repeat(80)],
])('the reply %j becomes the title %j', (reply, title) => {
  expect(cleanTitle(reply)).toBe(title)
})
