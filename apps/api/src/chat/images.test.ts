import { sql } from '@repo/db'
import { joinText, post, readParts } from '@repo/testing/ui-stream'
import { chunk, sendChunks, sendJson, startUpstream } from '@repo/testing/upstream'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { testApp } from '../testing.ts'
import { defineTool } from './tools.ts'

const upstream = await startUpstream()
const locate = defineTool({ description: 'Runs in the client', input: z.object({}) })
const { app, store, alice, bob, work, listen, close } = await testApp({
  environment: {
    OPENAI_BASE_URL: upstream.url,
    CHAT_MODEL: 'sees',
    CHAT_MODELS: JSON.stringify([
      { name: 'sees', fallback: 'blind' },
      { name: 'blind', images: false },
      { name: 'sees-too', fallback: 'sees' },
    ]),
  },
  tools: new Map([['locate', locate]]),
})
const url = await listen()
afterAll(close)
const document = { title: 'Herons', text: 'The heron was seen at lake 1 in spring.' }
await app.inject({ method: 'POST', url: '/documents', headers: alice, payload: document })
await work()

const cat = 'data:image/png;base64,iVBORw0KGgo='
const dog = 'data:image/jpeg;base64,/9j/4AAQ'
const file = (url: string, mediaType = 'image/png') => ({ type: 'file', mediaType, url })
const text = (text: string) => ({ type: 'text', text })

let count = 0
const nextId = () => `with-images-${++count}`

/** Posts what `useChat` posts. Questions of a conversation have the ids `q1`, `q2`… */
const ask = (id: string, parts: object[], body: object = {}, questionId = 'q1', headers = bob) =>
  post(`${url}/chat`, headers, { id, messages: [{ id: questionId, role: 'user', parts }], ...body })

/** Asks, lets the model answer, and returns the messages that its server received. */
async function askModel(...request: Parameters<typeof ask>) {
  upstream.next(sendChunks(chunk({ content: 'Seen.' }), chunk({}, 'stop')))
  const response = await ask(...request)
  expect(joinText(await readParts(response))).toBe('Seen.')
  return Object(upstream.calls.at(-1)?.body).messages.slice(1)
}

const read = async (id: string, headers = bob) => (await app.inject({ url: `/conversations/${id}`, headers })).json()
const countPieces = async () => Number((await app.db.execute(sql`select count(*) from message_files`))[0]?.count)
const image = (url: string) => ({ type: 'image_url', image_url: { url } })

describe('an image in a question', () => {
  it('goes to the model before the text, and is returned with the conversation as it was sent', async () => {
    const parts = [{ ...file(cat), filename: 'cat.png' }, text('What is this?'), file(dog, 'image/jpeg')]
    const id = nextId()
    expect(await askModel(id, parts)).toEqual([
      { role: 'user', content: [image(cat), image(dog), text('What is this?')] },
    ])
    const { title, messages } = await read(id)
    expect(title).toBe('What is this?')
    expect(messages[0]).toMatchObject({ role: 'user', content: 'What is this?', parts })
  })

  it('joins the passages that were found for its text', async () => {
    const [message] = await askModel(nextId(), [file(cat), text('Where was the heron seen?')], {}, 'q1', alice)
    expect(message.content).toEqual([
      image(cat),
      text(expect.stringMatching(/lake 1[\s\S]*Where was the heron seen\?$/)),
    ])
  })

  it('needs no text: nothing is searched for, and its filename is the title', async () => {
    const id = nextId()
    expect(await askModel(id, [{ ...file(cat), filename: 'cat.png' }], {}, 'q1', alice)).toEqual([
      { role: 'user', content: [image(cat)] },
    ])
    const { title, messages } = await read(id, alice)
    expect(title).toBe('cat.png')
    expect(messages).toMatchObject([{ content: '', parts: [{ type: 'file', url: cat }] }, { sources: [] }])
  })

  it('may be an https URL, which is not fetched, also with a general media type', async () => {
    const link = 'https://127.0.0.1:9/cat.png?size=l&v=%20'
    const id = nextId()
    expect(await askModel(id, [file(link, 'image/*'), text('What?')])).toMatchObject([
      { content: [image(link), text('What?')] },
    ])
    expect((await read(id)).messages[0].parts[0]).toEqual(file(link, 'image/*'))
  })

  it('keeps the order of texts and images', async () => {
    const id = nextId()
    await askModel(id, [text('First'), file(cat), text('Second')])
    const { messages } = await read(id)
    expect(messages[0]).toMatchObject({
      content: 'First\nSecond',
      parts: [text('First\n'), file(cat), text('Second')],
    })
  })

  it('is sent again with the history, and replaced by a note for a model that takes none', async () => {
    const id = nextId()
    await askModel(id, [file(cat), text('What is this?')])
    const first = { role: 'user', content: [image(cat), text('What is this?')] }
    const answer = { role: 'assistant', content: 'Seen.' }
    expect(await askModel(id, [text('Why?')], {}, 'q2')).toEqual([first, answer, { role: 'user', content: 'Why?' }])
    const note = { role: 'user', content: 'What is this?\n[image omitted]' }
    const [seen] = await askModel(id, [text('How?')], { model: 'blind' }, 'q3')
    expect(seen).toEqual(note)
  })

  it('is kept when the answer is regenerated, and replaced when the question is edited', async () => {
    const id = nextId()
    const parts = [file(cat), text('What is this?')]
    await askModel(id, parts)
    const again = await askModel(id, [text('ignored')], { trigger: 'regenerate-message' })
    expect(again).toEqual([{ role: 'user', content: [image(cat), text('What is this?')] }])

    const before = await countPieces()
    const edited = [file(dog, 'image/jpeg'), text('And this?')]
    expect(await askModel(id, edited, { messageId: 'q1' })).toMatchObject([
      { content: [image(dog), text('And this?')] },
    ])
    expect((await read(id)).messages).toMatchObject([{ parts: edited }, { content: 'Seen.' }])
    expect(await countPieces()).toBe(before)

    expect(await askModel(id, [text('Nothing.')], { messageId: 'q1' })).toEqual([{ role: 'user', content: 'Nothing.' }])
    expect((await read(id)).messages[0].parts).toEqual([text('Nothing.')])
    expect(await countPieces()).toBe(before - 1)
  })

  it('is sent again in the next step, after a tool of the client', async () => {
    const id = nextId()
    const call = { index: 0, id: 't', type: 'function', function: { name: 'locate', arguments: '{}' } }
    upstream.next(sendChunks(chunk({ tool_calls: [call] }), chunk({}, 'tool_calls')))
    await readParts(await ask(id, [file(cat), text('Where is this?')]))
    const answer = (await read(id)).messages[1]
    const part = { type: 'tool-locate', toolCallId: 't', state: 'output-available', input: {}, output: 'Ulm' }
    upstream.next(sendChunks(chunk({ content: 'In Ulm.' }), chunk({}, 'stop')))
    const messages = [{ id: answer.id, role: 'assistant', parts: [part] }]
    expect(joinText(await readParts(await post(`${url}/chat`, bob, { id, messages })))).toBe('In Ulm.')
    expect(Object(upstream.calls.at(-1)?.body).messages.slice(1)).toMatchObject([
      { role: 'user', content: [image(cat), text('Where is this?')] },
      { role: 'assistant', tool_calls: [{ id: 't' }] },
      { role: 'tool', content: 'Ulm' },
    ])
  })

  it('is deleted with its conversation', async () => {
    const before = await countPieces()
    const id = nextId()
    await askModel(id, [file(cat)])
    expect(await countPieces()).toBe(before + 1)
    await app.inject({ method: 'DELETE', url: `/conversations/${id}`, headers: bob })
    expect(await countPieces()).toBe(before)
  })

  it('of the largest size reaches the model and the reader completely', async () => {
    const start = 'data:image/png;base64,'
    const large = start + 'AbC+'.repeat((5_000_000 - start.length) / 4)
    const id = nextId()
    expect(large.length).toBeGreaterThan(4_999_990)
    const [message] = await askModel(id, [file(large), text('What is this?')])
    expect(message.content[0].image_url.url === large).toBe(true)
    const { messages } = await read(id)
    expect(messages[0].parts[0].url === large).toBe(true)
    expect(messages[0].parts[1]).toEqual(text('What is this?'))
  })

  it('beyond the largest size is a 413', async () => {
    const response = await ask(nextId(), [file(`data:image/png;base64,${'AbC+'.repeat(1_250_000)}`)])
    expect([response.status, Object(await response.json()).code]).toEqual([413, 'body_too_large'])
  })
})

describe('a model that takes no images', () => {
  it('is a 400 that lists those that do, and nothing is stored', async () => {
    const id = nextId()
    const response = await ask(id, [file(cat), text('What?')], { model: 'blind' })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      code: 'unsupported_part',
      detail: 'The model blind takes no images. Choose one of these: sees, sees-too.',
    })
    expect((await app.inject({ url: `/conversations/${id}`, headers: bob })).statusCode).toBe(404)
  })

  it('does not regenerate an answer to a stored image', async () => {
    const id = nextId()
    await askModel(id, [file(cat), text('What?')])
    const calls = upstream.calls.length
    const regenerate = { model: 'blind', trigger: 'regenerate-message' }
    const response = await ask(id, [file(cat), text('What?')], regenerate)
    expect([response.status, Object(await response.json()).code]).toEqual([400, 'unsupported_part'])
    expect((await read(id)).messages[1]).toMatchObject({ status: 'complete', content: 'Seen.' })
    expect((await ask(id, [text('What?')], regenerate)).status).toBe(400)
    expect(upstream.calls).toHaveLength(calls)
  })

  it('is no fallback for a question with an image, while another one is', async () => {
    const calls = upstream.calls.length
    upstream.next(sendJson({}, 503))
    expect((await ask(nextId(), [file(cat)])).status).toBe(502)
    expect(upstream.calls).toHaveLength(calls + 1)

    upstream.next(sendJson({}, 503))
    const messages = await askModel(nextId(), [file(cat)], { model: 'sees-too' })
    expect(upstream.calls.at(-1)?.body).toMatchObject({ model: 'sees' })
    expect(messages).toEqual([{ role: 'user', content: [image(cat)] }])
  })
})

describe('POST /chat rejects, with the path and the type', () => {
  it.each([
    ['another kind of part', { type: 'data-note', data: 1 }, 'parts of type "data-note" are not supported'],
    ['a file without a URL', { type: 'file', mediaType: 'image/png' }, 'parts of type "file"'],
    ['another media type', file('data:application/pdf;base64,AAAA', 'application/pdf'), 'application/pdf'],
    ['an SVG image', file('data:image/svg+xml;base64,AAAA', 'image/svg+xml'), 'image/svg+xml'],
    ['a data URL of another type', file(dog), 'the same as `mediaType`'],
    ['a data URL that is not base64', file('data:image/png,abcd'), 'in base64'],
    ['a data URL without data', file('data:image/png;base64,'), 'not valid base64'],
    ['invalid base64', file(`${cat.slice(0, -2)}-=`), 'not valid base64'],
    ['truncated base64', file(cat.slice(0, -1)), 'not valid base64'],
    ['invalid base64 at the end of a long image', file(`${cat.slice(0, 22)}${'A'.repeat(1_000_003)}-`), 'not valid'],
    ['an http URL', file('http://example.com/cat.png'), 'not an https URL'],
    ['a file URL', file('file:///etc/passwd'), 'not an https URL'],
    ['a URL with a space', file('https://example.com/a b'), 'not an https URL'],
    ['a URL that is too long', file(`https://example.com/${'a'.repeat(8000)}`), 'not an https URL'],
  ])('%s', async (_, part, sentence) => {
    const response = await ask(nextId(), [text('What is this?'), part])
    const problem = Object(await response.json())
    expect(problem).toMatchObject({ status: 400, code: 'unsupported_part' })
    expect(problem.detail).toContain('/messages/0/parts/1: ')
    expect(problem.detail).toContain(sentence)
  })

  it('more than eight images: 413', async () => {
    const response = await ask(
      nextId(),
      Array.from({ length: 9 }, () => file(cat)),
    )
    expect(await response.json()).toMatchObject({ status: 413, code: 'message_too_large' })
  })
})

it('another owner cannot read a file', async () => {
  const id = nextId()
  await askModel(id, [file(cat)])
  const [owner, other] = [await store.owners.ensure('bob'), await store.owners.ensure('alice')]
  const [stored] =
    (await store.conversations.read(owner, id, 1, (await read(id)).messages[1].id))?.messages[0]?.parts ?? []
  if (stored?.type !== 'file') throw new Error('no file is stored')
  await expect(store.messageFiles.readUrl(other, stored).next()).rejects.toThrow('deleted')
  expect(await store.messageFiles.readUrl(owner, stored).next()).toEqual({ done: false, value: cat })
})
