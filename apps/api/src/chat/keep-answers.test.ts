import { and, eq, messages, sql } from '@repo/db'
import { afterAll, expect, it, vi } from 'vitest'
import { createSpokenModel, listTypes, openGate, post, readParts, testApp } from '../testing.ts'

const model = createSpokenModel()
const gate = await openGate()
vi.useFakeTimers({ toFake: ['setInterval'] }) // the sweep comes every 10 s
const { app, store, alice, listen, close } = await testApp({ llm: model.llm, gate })
const passTime = (ms: number) => vi.advanceTimersByTimeAsync(ms)
const url = await listen()
afterAll(async () => {
  await close()
  await gate.shut()
})

const begin = async (conversationId: string) => {
  const response = post(`${url}/chat`, alice, { message: 'a question', conversationId })
  return { answer: await model.takeAnswer(), response }
}
const readAnswer = async (id: string) =>
  (await app.inject({ url: `/conversations/${id}`, headers: alice })).json().messages?.at(-1)

it('stores the text so far every second', async () => {
  const { answer, response } = await begin('growing')
  answer.say('half')
  await response
  await passTime(1000)
  await expect.poll(() => readAnswer('growing')).toMatchObject({ content: 'half', status: 'streaming' })
  answer.say(' and half')
  await passTime(1000)
  await expect.poll(() => readAnswer('growing')).toMatchObject({ content: 'half and half', status: 'streaming' })
  answer.end()
  await readParts(await response)
})

it('an answer that ends while the database is away is stored when it is back, and only then finishes', async () => {
  const { answer, response } = await begin('outlived')
  answer.say('whole')
  const parts = readParts(await response)
  await gate.shut()
  answer.end()
  const refused = await post(`${url}/chat`, alice, { message: 'a question' })
  expect(refused.headers.get('retry-after')).toBe('2')
  expect(await refused.json()).toMatchObject({ status: 503, code: 'database_unavailable' })
  expect(await Promise.race([parts, 'still open'])).toBe('still open')
  await gate.open()
  expect(listTypes(await parts).slice(-2)).toEqual(['finish', '[DONE]'])
  await expect.poll(() => readAnswer('outlived')).toMatchObject({ content: 'whole', status: 'complete' })
})

it('ends the model call of a conversation that another process deleted', async () => {
  const { answer, response } = await begin('deleted')
  answer.say('half')
  const parts = readParts(await response)
  await store.conversations.remove(await store.owners.ensure('alice'), 'deleted')
  await passTime(1000)
  expect((await parts).slice(-2)).toMatchObject([{ type: 'abort', reason: 'stopped' }, { type: '[DONE]' }])
  expect(answer.request.signal.aborted).toBe(true)
})

it('marks the answer of a process that died as interrupted, keeps its text, and lets the conversation go on', async () => {
  const owner = await store.owners.ensure('alice')
  const turn = { conversationId: 'orphan', title: 'a title', questionId: 'q', question: 'a question', answerId: 'a' }
  await store.turns.open(owner, turn)
  const ago = sql`now() - interval '16 seconds'`
  await app.db
    .update(messages)
    .set({ content: 'half', heartbeatAt: ago })
    .where(and(eq(messages.ownerId, owner), eq(messages.id, 'a')))
  const { answer, response } = await begin('alive')
  await response
  await passTime(10_000)
  await expect.poll(() => readAnswer('orphan')).toMatchObject({ content: 'half', status: 'interrupted' })
  expect(await readAnswer('alive')).toMatchObject({ status: 'streaming' })
  answer.end()
  const next = await begin('orphan')
  next.answer.end()
  expect((await next.response).status).toBe(200)
})
