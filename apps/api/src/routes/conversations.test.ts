import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { listTypes, post, readDelta, readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'
import { writeConversation } from './conversations.ts'

const model = createScriptedModel()
const { app, alice, listen, close } = await testApp({ llm: model.llm })
const url = await listen()
afterAll(close)

const get = async (path: string) => (await app.inject({ url: path, headers: alice })).json()
const remove = (id: string) => app.inject({ method: 'DELETE', url: `/conversations/${id}`, headers: alice })

/** Starts an answer that runs until the test ends it. */
async function begin(conversationId: string, message = 'a question') {
  const pending = post(`${url}/chat`, alice, { message, conversationId })
  const answer = await model.takeAnswer()
  return { answer, response: await pending }
}

async function converse(conversationId: string, message?: string) {
  const { answer, response } = await begin(conversationId, message)
  answer.say('an answer')
  answer.end()
  return readParts(response)
}

describe('a conversation', () => {
  it('is 404 when it does not exist, 400 when its id is invalid', async () => {
    expect(await get('/conversations/nobody')).toMatchObject({ status: 404, code: 'conversation_not_found' })
    expect((await remove('nobody')).json()).toMatchObject({ status: 404, code: 'conversation_not_found' })
    expect(await get('/conversations/no%20id')).toMatchObject({ status: 400, code: 'invalid_request' })
  })

  it('shows a running answer as streaming', async () => {
    const { answer, response } = await begin('running')
    expect((await get('/conversations/running')).messages).toMatchObject([{ role: 'user' }, { status: 'streaming' }])
    answer.end()
    await readParts(response)
  })

  it('returns the newest 50 messages, oldest first, and older ones with `before`', async () => {
    for (let turn = 1; turn <= 26; turn += 1) await converse('long', `question ${turn}`)
    const { messages } = await get('/conversations/long')
    expect(messages).toHaveLength(50)
    expect(messages[0].content).toBe('question 2')
    expect(messages[49]).toMatchObject({ role: 'assistant', content: 'an answer' })
    const older = await get(`/conversations/long?before=${messages[0].id}`)
    expect(older.messages).toMatchObject([{ content: 'question 1' }, { content: 'an answer' }])
    expect((await get('/conversations/long?before=nothing')).messages).toEqual([])
  })

  it('has the same shape when its messages are so long that they are read one by one, in pieces', async () => {
    const [long, longer] = ['水"\n'.repeat(10_000), '水🏊"\n'.repeat(40_000)]
    const { answer, response } = await begin('epic', `short ${long}`)
    answer.say(longer)
    answer.end()
    await readParts(response)
    await converse('epic', 'a short question')
    const { messages, ...conversation } = await get('/conversations/epic')
    expect(conversation).toEqual({ id: 'epic', title: expect.any(String), createdAt: expect.any(String) })
    expect(messages.map(({ content }: { content: string }) => content)).toEqual([
      `short ${long}`,
      longer,
      'a short question',
      'an answer',
    ])
    const { messages: later } = await get(`/conversations/epic?before=${messages[3].id}`)
    expect(later).toEqual(messages.slice(0, 3))
  })

  it.each([
    [['kept', 'gone'], ['kept']],
    [['gone', 'kept'], ['kept']],
    [['gone'], []],
  ])('leaves out long messages that are deleted while it is read: %j', async (ids, left) => {
    const createdAt = '2026-11-24T09:00:00.000Z'
    const message = { role: 'user' as const, status: 'complete' as const, sources: [], model: null, createdAt }
    const conversation = { id: 'c', title: 'a', createdAt }
    const messages = ids.map((id) => ({ ...message, id, content: null }))
    const readContent = (id: string) => Readable.from(id === 'gone' ? [] : ['lo', 'ng'])
    const json = await text(Readable.from(writeConversation({ ...conversation, messages }, readContent)))
    const expected = left.map((id) => ({ ...message, id, content: 'long' }))
    expect(JSON.parse(json)).toEqual({ ...conversation, messages: expected })
  })

  it('no longer exists after deletion, and its id can be used again', async () => {
    await converse('deleted', 'the first')
    expect((await remove('deleted')).statusCode).toBe(204)
    expect(await get('/conversations/deleted')).toMatchObject({ status: 404 })
    await converse('deleted', 'the second')
    expect((await get('/conversations/deleted')).messages).toMatchObject([{ content: 'the second' }, {}])
  })

  it('stops its running answer when deleted: the model call is aborted and the stream ends', async () => {
    const { answer, response } = await begin('stopped')
    const parts = streamParts(response)
    answer.say('half an ans')
    expect(await readDelta(parts)).toBe('half an ans')
    expect((await remove('stopped')).statusCode).toBe(204)
    expect(answer.request.signal.aborted).toBe(true)
    const rest = await readParts(parts)
    expect(listTypes(rest)).toEqual(['text-end', 'abort', '[DONE]'])
    expect(rest[1]).toMatchObject({ reason: 'stopped' })
    expect(await get('/conversations/stopped')).toMatchObject({ status: 404 })
  })
})

describe('the list', () => {
  it('is sorted by newest activity and contains each conversation once across pages', async () => {
    for (const id of ['list-a', 'list-b', 'list-c', 'list-a']) await converse(id)
    const seen: string[] = []
    let next = ''
    do {
      const page = await get(`/conversations?limit=2${next && `&after=${next}`}`)
      seen.push(...page.items.map(({ id }: { id: string }) => id))
      next = page.next
    } while (next)
    expect(seen.slice(0, 3)).toEqual(['list-a', 'list-c', 'list-b'])
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen).toEqual((await get('/conversations?limit=100')).items.map(({ id }: { id: string }) => id))
  })

  const encode = (cursor: unknown) => Buffer.from(JSON.stringify(cursor)).toString('base64url')
  it.each([
    ['limit=0', 'invalid_request'],
    ['limit=101', 'invalid_request'],
    ['limit=many', 'invalid_request'],
    ['after=nonsense', 'invalid_cursor'],
    [`after=${encode({})}`, 'invalid_cursor'],
    [`after=${encode(['yesterday', 'a'])}`, 'invalid_cursor'],
    [`after=${encode(['0000-01-01T00:00:00Z', 'a'])}`, 'invalid_cursor'],
    [`after=${encode(['2026-01-01T00:00:00Z', 'a\0'])}`, 'invalid_cursor'],
    [`after=${'a'.repeat(201)}`, 'invalid_request'],
  ])('400 for %s', async (query, code) => {
    expect(await get(`/conversations?${query}`)).toMatchObject({ status: 400, code })
    expect(await get(`/documents?${query}`)).toMatchObject({ status: 400, code })
  })
})
