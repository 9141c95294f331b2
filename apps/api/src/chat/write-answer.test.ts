import { createServer, type ServerResponse } from 'node:http'
import { json as readJson } from 'node:stream/consumers'
import { joinText, listTypes, type Part, post, readParts, streamParts } from '@repo/testing/ui-stream'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { testApp } from '../testing.ts'

type Answer = (response: ServerResponse) => void

const event = (data: object) => `data: ${JSON.stringify(data)}\n\n`
const word = (content: string) => event({ choices: [{ delta: { content } }] })
const refuse =
  (status: number, headers = {}) =>
  (response: ServerResponse) =>
    response.writeHead(status, headers).end('{"error": "the vendor’s own words"}')
const begin = (response: ServerResponse) =>
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write(word('half'))
const hang: Answer = () => {}
const sendLongLine: Answer = (response) => response.write(`data: ${'x'.repeat(5 * 1024 * 1024)}`)
const complete: Answer = (response) => {
  begin(response)
  response.end(`${word(' and half')}${event({ choices: [{ delta: {}, finish_reason: 'stop' }] })}data: [DONE]\n\n`)
}

const embed: Answer = (response) => {
  response.end(JSON.stringify({ data: [{ embedding: [1, ...Array(383).fill(0)] }] }))
}

/** A vendor with an OpenAI-compatible API whose answers the tests choose. */
const vendor = { chat: complete, embeddings: hang, bodies: [] as unknown[], hungUp: 0 }
const server = createServer(async (request, response) => {
  response.on('close', () => {
    if (!response.writableFinished) vendor.hungUp += 1
  })
  vendor.bodies.push(await readJson(request))
  if (request.url === '/v1/embeddings') vendor.embeddings(response)
  else vendor.chat(response)
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const address = server.address()
const vendorUrl = `http://127.0.0.1:${address && typeof address === 'object' ? address.port : 0}/v1`
afterAll(() => server.close())
beforeEach(() => {
  vendor.chat = complete
})

const timeouts = { MODEL_FIRST_BYTE_TIMEOUT_MS: '2000', MODEL_IDLE_TIMEOUT_MS: '2000' }
async function openApp(environment: Record<string, string>) {
  const { app, alice, work, listen, close } = await testApp({
    environment: { OPENAI_BASE_URL: vendorUrl, OPENAI_API_KEY: 'vendor-key', CHAT_MODEL: 'model', ...environment },
  })
  const url = await listen()
  const ask = (body: object) => post(`${url}/chat`, alice, body)
  const read = async (id: string) => (await app.inject({ url: `/conversations/${id}`, headers: alice })).json()
  const regenerate = (id: string, question: { id: string; content: string }) => {
    const messages = [{ id: question.id, role: 'user', parts: [{ type: 'text', text: question.content }] }]
    return ask({ id, messages, trigger: 'regenerate-message', messageId: 'any' })
  }
  const replay = async (id: string, lastEventId: string) =>
    readParts(await fetch(`${url}/chat/${id}/stream`, { headers: { ...alice, 'last-event-id': lastEventId } }))
  return { app, alice, url, work, ask, read, replay, regenerate, close }
}

describe('a model', async () => {
  const { app, alice, ask, read, replay, regenerate, close } = await openApp(timeouts)
  afterAll(close)

  it('is called with the question even if no passage was found', async () => {
    vendor.bodies = []
    const parts = await readParts(await ask({ message: 'Who are you?' }))
    expect(joinText(parts)).toBe('half and half')
    expect(vendor.bodies).toMatchObject([
      { model: 'model', stream: true, messages: [{ role: 'system' }, { role: 'user', content: 'Who are you?' }] },
    ])
  })

  it.each([
    ['401', refuse(401), 502, 'model_unauthorized', null],
    ['403', refuse(403), 502, 'model_unauthorized', null],
    ['400', refuse(400), 502, 'model_rejected', null],
    ['413', refuse(413), 400, 'context_length_exceeded', null],
    ['500', refuse(500), 502, 'model_failed', null],
    ['429 with Retry-After', refuse(429, { 'retry-after': '7' }), 429, 'model_rate_limited', '7'],
    ['429 with Retry-After: 0', refuse(429, { 'retry-after': '0' }), 429, 'model_rate_limited', '0'],
    ['429 alone', refuse(429), 429, 'model_rate_limited', '5'],
    ['a closed connection', (response: ServerResponse) => response.destroy(), 502, 'model_unreachable', null],
    ['a reset', (response: ServerResponse) => response.socket?.resetAndDestroy(), 502, 'model_unreachable', null],
    ['nothing', hang, 504, 'model_timeout', null],
  ])(
    'that answers %s: a problem with the ids, and the question can be asked again',
    async (name, chat, status, code, retryAfter) => {
      const conversationId = `refused-${name.replaceAll(/\W/g, '-')}`
      vendor.chat = chat
      const response = await ask({ message: 'Why?', conversationId })
      const problem = await response.json()
      expect(response.headers.get('retry-after')).toBe(retryAfter)
      expect(problem).toMatchObject({ status, code, conversationId, messageId: expect.any(String) })
      expect(JSON.stringify(problem)).not.toContain('own words')
      expect(await replay(conversationId, `${Object(problem).messageId}.0`)).toEqual([
        { type: 'error', errorText: Object(problem).detail },
        { type: '[DONE]' },
      ])
      const { messages } = await read(conversationId)
      const [question] = messages
      expect(messages).toMatchObject([
        { content: 'Why?' },
        { id: Object(problem).messageId, content: '', status: 'failed' },
      ])

      vendor.chat = complete
      expect(joinText(await readParts(await regenerate(conversationId, question)))).toBe('half and half')
      expect((await read(conversationId)).messages).toMatchObject([
        question,
        { content: 'half and half', status: 'complete' },
      ])
    },
  )

  it.each([
    ['resets the connection', (response: ServerResponse) => response.socket?.resetAndDestroy()],
    ['sends garbage', (response: ServerResponse) => response.end('data: {"choices": [{"del\n\n')],
    ['sends HTML', (response: ServerResponse) => response.end('<html>\n\n')],
    ['is cut short', (response: ServerResponse) => response.end()],
    [
      'is cut short after an empty finish_reason',
      (response: ServerResponse) => response.end(event({ choices: [{ delta: {}, finish_reason: '' }] })),
    ],
    [
      'reports an error',
      (response: ServerResponse) => response.end(event({ error: { message: 'the vendor’s own words' } })),
    ],
    ['sends a line without an end', sendLongLine],
    ['falls silent', hang],
  ])(
    'that %s in the middle: an error part, now and for later readers, and the text so far is stored as failed',
    async (name, end: Answer) => {
      const conversationId = `failed-${name.replaceAll(/\W/g, '-')}`
      let endNow = () => {}
      vendor.chat = (response) => {
        begin(response)
        endNow = () => end(response)
      }
      const parts: Part[] = []
      for await (const part of streamParts(await ask({ message: 'Why?', conversationId }))) {
        parts.push(part)
        if (part.type === 'text-delta') endNow()
      }
      expect(joinText(parts)).toBe('half')
      expect(listTypes(parts).slice(-3)).toEqual(['text-delta', 'error', '[DONE]'])
      expect(parts.at(-2)?.errorText).toMatch(/^The .*(model|answer).*\. (Try|Check) .*\.$/)
      expect(parts.at(-2)?.errorText).not.toContain('own words')
      const stored = (await read(conversationId)).messages[1]
      expect(stored).toMatchObject({ content: 'half', status: 'failed' })
      expect(await replay(conversationId, `${stored.id}.0`)).toMatchObject([
        { type: 'text-start' },
        { type: 'text-delta', delta: 'half' },
        parts.at(-2),
        { type: '[DONE]' },
      ])
    },
  )

  it.each([
    ['says nothing', hang],
    ['sends a line without an end', sendLongLine],
    ['breaks off', (response: ServerResponse) => response.destroy()],
  ])('that accepts and then %s before the first word: an error part, now and later', async (name, end: Answer) => {
    const conversationId = `accepted-${name.replaceAll(/\W/g, '-')}`
    let endNow = () => {}
    vendor.chat = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      endNow = () => end(response)
    }
    const response = await ask({ message: 'Why?', conversationId })
    endNow()
    const parts = await readParts(response)
    expect(listTypes(parts)).toEqual(['start', 'data-conversation', 'error', '[DONE]'])
    const stored = (await read(conversationId)).messages[1]
    expect(stored).toMatchObject({ content: '', status: 'failed' })
    expect(await replay(conversationId, `${stored.id}.0`)).toEqual(parts.slice(-2))
  })

  it.each([
    ['STOP', 'stop'],
    ['max_tokens', 'length'],
    ['safety', 'content-filter'],
    ['a-new-one', 'other'],
  ])('that ends with %s: `finish` and the stored answer say %s', async (reason, finishReason) => {
    vendor.chat = (response) => {
      begin(response)
      response.end(event({ choices: [{ delta: {}, finish_reason: reason }] }))
    }
    const conversationId = `ended-${reason}`
    const parts = await readParts(await ask({ message: 'Why?', conversationId }))
    expect(parts.at(-2)).toMatchObject({ type: 'finish', finishReason, messageMetadata: { finishReason } })
    expect((await read(conversationId)).messages[1]).toMatchObject({
      content: 'half',
      status: 'complete',
      metadata: { finishReason },
    })
  })

  it.each([
    ['an HTML page', '<!doctype html><p>the vendor’s own words', 502, 'model_protocol', /sent an HTML page instead/],
    ['an empty response', '', 502, 'model_protocol', /sent an empty response instead/],
    ['a quota', '{"error":{"code":"insufficient_quota"}}', 429, 'model_rate_limited', /error/],
    ['a long prompt', '{"error":"the context length"}', 400, 'context_length_exceeded', /longer than/],
  ])('that sends %s with status 200: a problem that says so', async (_, page, status, code, message) => {
    for (const label of ['text/html', 'text/event-stream']) {
      vendor.chat = (response) => response.writeHead(200, { 'content-type': label }).end(page)
      const problem = await (await ask({ message: 'Why?' })).json()
      expect(problem).toMatchObject({ status, code, detail: expect.stringMatching(message) })
    }
  })

  it('whose context is too small: a problem with the sizes and what to do', async () => {
    const message = 'request (45003 tokens) exceeds the available context size (4096 tokens): the vendor’s own words'
    vendor.chat = (response) => response.writeHead(400).end(JSON.stringify({ error: { code: 400, message } }))
    const problem = await (await ask({ message: 'Why?' })).json()
    expect(problem).toMatchObject({
      ...{ status: 400, code: 'context_length_exceeded' },
      detail: expect.stringMatching(/^The request has 45003 tokens, and the model accepts 4096\. Send less text/),
    })
  })

  it('is cancelled when its answer is deleted', async () => {
    vendor.chat = begin
    const before = vendor.hungUp
    const response = await ask({ message: 'Why?', conversationId: 'deleted' })
    await app.inject({ method: 'DELETE', url: '/conversations/deleted', headers: alice })
    expect((await readParts(response)).slice(-2)).toMatchObject([
      { type: 'abort', reason: 'stopped' },
      { type: '[DONE]' },
    ])
    await expect.poll(() => vendor.hungUp).toBe(before + 1)
  })
})

describe('models that are slow to accept', async () => {
  const { app, alice, work, ask, close } = await openApp({ EMBEDDING_MODEL: 'embedder' })
  afterAll(close)

  it('the stream begins after 5 s, followed by sources and text, or an error part', async () => {
    vendor.embeddings = embed
    const payload = { title: 'Why', text: 'Because.' }
    await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
    await work()
    const held: ServerResponse[] = []
    const hold: Answer = (response) => held.push(response)
    const untilHeld = (count: number) => expect.poll(() => held.length).toBe(count)
    vendor.chat = hold
    const pendingRefused = ask({ message: 'Why?' })
    await untilHeld(1)
    const pendingAccepted = ask({ message: 'Why?' })
    await untilHeld(2)
    const [refused, accepted] = [streamParts(await pendingRefused), streamParts(await pendingAccepted)]
    for (const parts of [refused, accepted]) expect((await parts.next()).value).toMatchObject({ type: 'start' })

    const [first, second] = held
    if (first) refuse(401)(first)
    if (second) complete(second)
    expect(listTypes(await readParts(refused)).slice(-2)).toEqual(['error', '[DONE]'])
    const types = listTypes(await readParts(accepted))
    expect(types.slice(0, 4)).toEqual(['data-conversation', 'source-document', 'text-start', 'text-delta'])
  })
})

describe('an embedding model that is down', async () => {
  const { app, alice, work, ask, read, close } = await openApp({ ...timeouts, EMBEDDING_MODEL: 'embedder' })
  afterAll(close)

  beforeAll(async () => {
    vendor.embeddings = embed
    const payload = { title: 'Pool', text: 'The zyzzyva swims.' }
    await app.inject({ method: 'POST', url: '/documents', headers: alice, payload })
    await work()
  })

  it('says so when no keyword matches either', async () => {
    vendor.embeddings = refuse(500)
    const parts = await readParts(await ask({ message: 'Qux?' }))
    expect(listTypes(parts).slice(0, 4)).toEqual(['start', 'data-conversation', 'data-retrieval', 'text-start'])
  })

  it('says nothing when it works', async () => {
    vendor.embeddings = embed
    expect(listTypes(await readParts(await ask({ message: 'Who is the zyzzyva?' })))).not.toContain('data-retrieval')
  })

  it('can be stopped while it hangs', async () => {
    vendor.embeddings = hang
    const asked = ask({ message: 'Who is the zyzzyva?', conversationId: 'stopped' })
    await expect.poll(async () => (await read('stopped')).messages?.at(-1)?.status).toBe('streaming')
    await app.inject({ method: 'POST', url: '/chat/stopped/stop', headers: alice })
    expect(listTypes(await readParts(await asked))).toEqual(['start', 'data-conversation', 'abort', '[DONE]'])
  })

  it.each([
    ['500', refuse(500)],
    ['429', refuse(429, { 'retry-after': '9' })],
    ['a reset', (response: ServerResponse) => response.socket?.resetAndDestroy()],
    ['nothing', hang], // the last one, because a late model is not asked again for a while
  ])('with %s: the answer is based on passages found by keyword, and says so', async (name, embeddings) => {
    const conversationId = `embedder-${name.replace(' ', '-')}`
    vendor.embeddings = embeddings
    const parts = await readParts(await ask({ message: 'Who is the zyzzyva?', conversationId }))
    expect(listTypes(parts).slice(0, 4)).toEqual(['start', 'data-conversation', 'data-retrieval', 'source-document'])
    const degraded = { type: 'data-retrieval', data: { degraded: 'keywords_only' }, transient: true }
    expect(parts.filter(({ type }) => type === 'data-retrieval')).toEqual([degraded])
    expect(joinText(parts)).toBe('half and half')
    const { messages } = await read(conversationId)
    expect(messages[1]).toMatchObject({ status: 'complete', sources: [{ n: 1, title: 'Pool' }] })
  })
})
