import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { afterAll } from 'vitest'

type Respond = (response: ServerResponse) => unknown

/** Until the test has its turn, a model's server has nothing to say: a call that was not expected shows as a 500. */
const unexpected: Respond = (response) => response.writeHead(500).end()

/**
 * A model's server in OpenAI's wire format, which says what the test tells it to: `next` is how it answers the next call.
 * It runs until the file's tests are over.
 */
export async function startUpstream() {
  const script: Respond[] = []
  const calls: { headers: IncomingHttpHeaders; body: unknown }[] = []
  const counts = { hungUp: 0 }
  const server = createServer(async (request, response) => {
    response.on('close', () => {
      if (!response.writableFinished) counts.hungUp += 1
    })
    calls.push({ headers: request.headers, body: await json(request) })
    const respond = script.shift() ?? unexpected
    await respond(response)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/v1`,
    /** The calls so far, oldest first. */
    calls,
    /** How many of them the caller gave up. */
    counts,
    next: (respond: Respond) => void script.push(respond),
  }
}

/** Answers with chunks, and leaves the stream open. */
export function beginChunks(response: ServerResponse, ...chunks: object[]): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  for (const chunk of chunks) response.write(`data: ${JSON.stringify(chunk)}\n\n`)
  return response
}

/** Answers with chunks, to the end. */
export const sendChunks =
  (...chunks: object[]): Respond =>
  (response) =>
    beginChunks(response, ...chunks).end('data: [DONE]\n\n')

export const sendJson =
  (body: object, status = 200, headers: Record<string, string> = {}): Respond =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))

/** A chunk as a model's server writes it. */
export function chunk(delta: object, finish_reason: string | null = null) {
  return { ...start, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }] }
}

export function completion(message: object, finish_reason = 'stop') {
  const choices = [{ index: 0, message: { role: 'assistant', ...message }, finish_reason }]
  return { ...start, object: 'chat.completion', choices, usage: { ...usage } }
}

export const usage = { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 }
export const usageChunk = {
  id: 'c',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'the-model',
  choices: [],
  usage,
}

const start = { id: 'c', created: 1, model: 'the-model' }
