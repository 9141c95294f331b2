import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { listTypes, post, readDelta, readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { writeConversation } from '../streaming/write-conversation.ts'
import { testApp } from '../testing.ts'

const model = createScriptedModel()
const { app, alice, bob, listen, close } = await testApp({ llm: model.llm })
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
    const shared = { sources: [], model: null, finishReason: null, createdAt }
    const message = { ...shared, role: 'user' as const, status: 'complete' as const }
    const conversation = { id: 'c', title: 'a', createdAt }
    const messages = ids.map((id) => ({ ...message, id, content: null, parts: null }))
    const readContent = (id: string) => Readable.from(id === 'gone' ? [] : ['lo', 'ng'])
    const json = await text(
      Readable.from(
        writeConversation({ ...conversation, messages }, { readContent, readUrl: () => Readable.from([]) }),
      ),
    )
    const expected = left.map((id) => ({ ...message, id, content: 'long', parts: [{ type: 'text', text: 'long' }] }))
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

describe('renaming', () => {
  const rename = (id: string, payload: unknown, headers = alice) =>
    app.inject({ method: 'PATCH', url: `/conversations/${id}`, headers, payload: Object(payload) })

  it('returns the summary with the new title, and leaves the time of the last activity', async () => {
    await converse('named')
    const before = (await get('/conversations?limit=1')).items[0]
    const response = await rename('named', { title: '  Herons\n and egrets ' })
    expect(response.statusCode).toBe(200)
    expect(response.json()).toEqual({ ...before, title: 'Herons and egrets' })
    expect((await get('/conversations?limit=1')).items[0]).toEqual(response.json())
    expect((await get('/conversations/named')).title).toBe('Herons and egrets')
  })

  it.each([{}, { title: '' }, { title: ' \n ' }, { title: 'a'.repeat(201) }, { title: 1 }])(
    '400 for %j',
    async (body) => {
      expect((await rename('named', body)).json()).toMatchObject({ status: 400, code: 'invalid_request' })
    },
  )

  it('accepts 200 characters, and replaces what cannot be stored', async () => {
    await converse('odd')
    expect((await rename('odd', { title: ` ${'a'.repeat(200)} ` })).json().title).toBe('a'.repeat(200))
    expect((await rename('odd', { title: 'a\0b' })).json().title).toBe('a\ufffdb')
  })

  it('404 for an unknown conversation, and for one of another owner', async () => {
    await converse('hers')
    for (const response of [await rename('unknown', { title: 'a' }), await rename('hers', { title: 'a' }, bob)])
      expect(response.json()).toMatchObject({ status: 404, code: 'conversation_not_found' })
  })
})

describe('feedback', () => {
  const rate = (path: string, payload: unknown, headers = alice) =>
    app.inject({ method: 'PUT', url: `/conversations/${path}/feedback`, headers, payload: Object(payload) })

  it('is returned with its answer until it is removed', async () => {
    await converse('rated')
    const [question, answer] = (await get('/conversations/rated')).messages
    expect([question, answer].map((message) => 'feedback' in message)).toEqual([false, false])
    const path = `rated/messages/${answer.id}`
    const readFeedback = async () => (await get('/conversations/rated')).messages[1].feedback
    expect((await rate(path, { value: -1, comment: ' wrong bird ' })).statusCode).toBe(204)
    expect(await readFeedback()).toEqual({ value: -1, comment: 'wrong bird' })
    expect((await rate(path, { value: 1 })).statusCode).toBe(204)
    expect(await readFeedback()).toEqual({ value: 1 })
    expect((await rate(path, { value: 0, comment: 'never mind' })).statusCode).toBe(204)
    expect((await get('/conversations/rated')).messages[1]).toEqual(answer)
  })

  it('is returned with long messages, too', async () => {
    await converse('rated-long', 'long '.repeat(6000))
    const { answer, response } = await begin('rated-long')
    answer.say('long '.repeat(10_000))
    answer.end()
    await readParts(response)
    const { id } = (await get('/conversations/rated-long')).messages.at(-1)
    await rate(`rated-long/messages/${id}`, { value: 1, comment: 'a "good" one' })
    expect((await get('/conversations/rated-long')).messages.at(-1)).toMatchObject({
      content: 'long '.repeat(10_000),
      feedback: { value: 1, comment: 'a "good" one' },
    })
  })

  it.each([{}, { value: 2 }, { value: '1' }, { value: 1, comment: 'a'.repeat(2001) }, { value: 1, comment: 1 }])(
    '400 for %j',
    async (body) => {
      expect((await rate('rated/messages/any', body)).json()).toMatchObject({ status: 400, code: 'invalid_request' })
    },
  )

  it('404 for a question, and for an answer that is unknown or of another owner', async () => {
    await converse('rated-not')
    const [question, answer] = (await get('/conversations/rated-not')).messages
    for (const response of [
      await rate(`rated-not/messages/${question.id}`, { value: 1 }),
      await rate('rated-not/messages/unknown', { value: 1 }),
      await rate(`unknown/messages/${answer.id}`, { value: 1 }),
      await rate(`rated-not/messages/${answer.id}`, { value: 1 }, bob),
    ])
      expect(response.json()).toMatchObject({ status: 404, code: 'answer_not_found' })
  })
})

describe('the search', () => {
  const find = async (query: string) => (await get(`/conversations?${query}`)).items.map(({ id }: { id: string }) => id)

  it('returns the conversations whose title or messages contain the words, page by page', async () => {
    for (const id of ['bird-1', 'bird-2', 'bird-3']) await converse(id, `Where does kingfisher number ${id} nest?`)
    await converse('bird-4', 'Where does the pelican nest?')
    expect(await find('q=KINGFISHER%20nest')).toEqual(['bird-3', 'bird-2', 'bird-1'])
    const { items, next } = await get('/conversations?q=kingfisher&limit=2')
    expect(items).toHaveLength(2)
    const rest = await get(`/conversations?q=kingfisher&limit=2&after=${next}`)
    expect(rest).toMatchObject({ items: [{ id: 'bird-1' }], next: null })
    expect(await find('q=kingfisher%20nest%20pelican')).toEqual([])
  })

  it('returns a cursor if it ends early, even with an empty page', async () => {
    const next = { time: '2026-01-01T00:00:00.000Z', id: 'c7' }
    vi.spyOn(app.store.conversations, 'search').mockResolvedValueOnce({ found: [], next })
    const page = await get('/conversations?q=kingfisher')
    expect(page.items).toEqual([])
    const search = vi.spyOn(app.store.conversations, 'search')
    expect(await get(`/conversations?q=kingfisher&after=${page.next}`)).toEqual({ items: [], next: null })
    expect(search.mock.lastCall?.at(-1)).toEqual(next)
    vi.restoreAllMocks()
  })

  it('lists everything without words, and 400 for more than 200 characters', async () => {
    expect(await get('/conversations?q=%20')).toEqual(await get('/conversations'))
    expect(await get(`/conversations?q=${'a'.repeat(201)}`)).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(await find('q=%00%ed%a0%80')).toEqual([])
  })
})
