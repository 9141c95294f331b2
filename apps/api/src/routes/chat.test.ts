import { AsyncLocalStorage } from 'node:async_hooks'
import { conversations, eq, sql } from '@repo/db'
import { createScriptedModel } from '@repo/testing/scripted-model'
import { joinText, listTypes, post, readDelta, readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { testApp } from '../testing.ts'

const model = createScriptedModel()
const { app, alice, work, listen, close } = await testApp({ llm: model.llm })
const url = await listen()
afterAll(close)

const ask = (body: object) => post(`${url}/chat`, alice, body)
const read = async (id: string) => (await app.inject({ url: `/conversations/${id}`, headers: alice })).json()

/** Asks a question that the model answers with these deltas, and returns the whole answer. */
async function converse(body: object, ...deltas: string[]) {
  const pending = ask(body)
  const answer = await model.takeAnswer()
  for (const delta of deltas) answer.say(delta)
  answer.end()
  const response = await pending
  return { response, request: answer.request, parts: await readParts(response) }
}

const text =
  '# Opening hours\n\nThe swimming pool is open from nine to five. 🏊\n\n# Prices\n\nA ticket to the pool costs four euros.'
const document = (
  await app.inject({ method: 'POST', url: '/documents', headers: alice, payload: { title: 'Pool', text } })
).json()
await work()

describe('an answer', () => {
  it('has the headers of an AI SDK stream, and no proxy may buffer it', async () => {
    const { response } = await converse({ message: 'When does the pool open?' }, 'At nine.')
    expect(response.status).toBe(200)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'x-vercel-ai-ui-message-stream': 'v1',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      'x-request-id': expect.stringMatching(/^[\w-]{36}$/),
    })
  })

  it('is sent in the order start, conversation, sources, text, finish, [DONE]', async () => {
    const { parts } = await converse(
      { message: 'When does the pool open?', conversationId: 'in-order' },
      'At ',
      'nine',
      '.',
    )
    expect(listTypes(parts)).toEqual([
      'start',
      'data-conversation',
      'source-document',
      'text-start',
      'text-delta',
      'text-end',
      'finish',
      '[DONE]',
    ])
    expect(parts[1]).toEqual({ type: 'data-conversation', data: { id: 'in-order' }, transient: true })
    expect(joinText(parts)).toBe('At nine.')
  })

  it('numbers its events by the UTF-16 length of the texts so far, and 1 for the sources', async () => {
    const { parts } = await converse({ message: 'Smile!' }, 'ü', '🏊', 'ab')
    const [start] = parts
    const ids = parts.flatMap(({ eventId }) => eventId ?? [])
    expect(ids).toEqual([1, 2, 4, 6].map((position) => `${start?.messageId}.${position}`))
  })

  it('has sources whose positions point into the posted document', async () => {
    const { parts, request } = await converse({ message: 'What does a ticket to the pool cost?' }, 'Four euros [1].')
    const sources = parts.filter(({ type }) => type === 'source-document')
    expect(sources).toHaveLength(2)
    for (const [index, source] of sources.entries()) {
      expect(source).toMatchObject({ sourceId: String(index + 1), mediaType: 'text/plain', title: 'Pool' })
      expect(source).toHaveProperty('providerMetadata.sluice.documentId', document.id)
      const place = Object(source.providerMetadata).sluice
      expect(request.passages[index]).toMatchObject({ n: index + 1, text: text.slice(place.start, place.end) })
    }
  })

  it('is stored with its sources when `finish` arrives', async () => {
    const pending = ask({ message: 'What does a ticket cost?', conversationId: 'stored' })
    const answer = await model.takeAnswer()
    answer.say('Four euros [1].')
    answer.end()
    let atFinish: unknown
    for await (const { type } of streamParts(await pending)) if (type === 'finish') atFinish = await read('stored')
    expect(atFinish).toMatchObject({
      id: 'stored',
      title: 'What does a ticket cost?',
      messages: [
        { role: 'user', content: 'What does a ticket cost?', status: 'complete', sources: [] },
        {
          role: 'assistant',
          content: 'Four euros [1].',
          status: 'complete',
          sources: [{ n: 1, documentId: document.id }, { n: 2 }],
        },
      ],
    })
  })

  it('sends the first word before the model has produced the last', async () => {
    const pending = ask({ message: 'Tell me a long story' })
    const answer = await model.takeAnswer()
    const parts = streamParts(await pending)
    answer.say('Once')
    expect(await readDelta(parts)).toBe('Once')
    answer.say(' upon')
    expect(await readDelta(parts)).toBe(' upon')
    answer.end()
    expect(listTypes(await readParts(parts))).toEqual(['text-end', 'finish', '[DONE]'])
  })

  it('sends a surrogate pair whole if the model split it', async () => {
    const { parts } = await converse({ message: 'Smile!', conversationId: 'halves' }, 'a\ud83c', '\udfcab', '\ud83c')
    expect(parts.flatMap(({ delta }) => delta ?? [])).toEqual(['a', '🏊b', '\ufffd'])
    expect((await read('halves')).messages[1].content).toBe('a🏊b\ufffd')
  })

  it('keeps reasoning separate from the text, in its own parts', async () => {
    const pending = ask({ message: 'Think!', conversationId: 'reasoned' })
    const answer = await model.takeAnswer()
    answer.think('Let me ')
    answer.think('see.')
    answer.say('Yes.')
    answer.end()
    const parts = await readParts(await pending)
    expect(listTypes(parts).slice(-8)).toEqual([
      'reasoning-start',
      'reasoning-delta',
      'reasoning-end',
      'text-start',
      'text-delta',
      'text-end',
      'finish',
      '[DONE]',
    ])
    expect((await read('reasoned')).messages[1].content).toBe('Yes.')
  })

  it('without any text ends properly, too', async () => {
    const { parts } = await converse({ message: 'Say nothing', conversationId: 'silent' })
    expect(listTypes(parts).slice(-2)).toEqual(['finish', '[DONE]'])
    expect((await read('silent')).messages[1]).toMatchObject({ content: '', status: 'complete' })
  })
})

describe('the model', () => {
  it('receives system text, stored turns as messages, and the passages with the question verbatim at the end', async () => {
    const conversationId = 'long-talk'
    await converse({ message: 'When does the pool open?', conversationId }, 'At nine [1].')
    const question = '  And <passages> on "Sunday"?\n[mock]\t'
    const { request } = await converse({ message: question, conversationId }, 'It does not say.')
    expect(request.messages).toEqual([
      { role: 'system', content: expect.any(String) },
      { role: 'user', content: 'When does the pool open?' },
      { role: 'assistant', content: 'At nine [1].' },
      { role: 'user', content: expect.any(String) },
    ])
    const last = request.messages.at(-1)?.content ?? ''
    expect(request.passages).not.toEqual([])
    for (const { text } of request.passages) expect(last).toContain(text)
    expect(last.endsWith(`>\n\n${question}`)).toBe(true)
    expect(request.question).toBe(question)
  })
})

it('a question that is repeated while its conversation is being deleted starts a new conversation', async () => {
  await converse({ message: 'When?', conversationId: 'vanishing' }, 'At nine.')
  const [{ id }] = (await read('vanishing')).messages
  const messages = [{ id, role: 'user', parts: [{ type: 'text', text: 'When?' }] }]
  const isWaiting = sql`datname = current_database() and wait_event_type = 'Lock'`
  const outside = AsyncLocalStorage.snapshot() // no request may be sent inside a transaction
  const asked = await app.db.transaction(async (tx) => {
    await tx.delete(conversations).where(eq(conversations.id, 'vanishing'))
    const again = outside(() => converse({ id: 'vanishing', trigger: 'regenerate-message', messages }, 'At ten.'))
    const countWaiting = async () => (await app.db.execute(sql`select from pg_stat_activity where ${isWaiting}`)).length
    await expect.poll(countWaiting).toBe(1)
    return { again }
  })
  expect((await asked.again).response.status).toBe(200)
  expect((await read('vanishing')).messages).toMatchObject([{ id, content: 'When?' }, { content: 'At ten.' }])
})

it('the offline model answers from the documents and cites only passages that it received', async () => {
  const { app, alice, work, close } = await testApp()
  onTestFinished(close)
  await app.inject({ method: 'POST', url: '/documents', headers: alice, payload: { title: 'Pool', text } })
  await work()
  const payload = { message: 'What does a ticket to the pool cost?', conversationId: 'offline' }
  await app.inject({ method: 'POST', url: '/chat', headers: alice, payload })
  const [, answer] = (await app.inject({ url: '/conversations/offline', headers: alice })).json().messages
  expect(answer.content).toContain('four euros')
  const given = answer.sources.map(({ n }: { n: number }) => `[${n}]`)
  const cited: string[] = answer.content.match(/\[\d+\]/g)
  expect(given).toEqual(expect.arrayContaining(cited))
})
