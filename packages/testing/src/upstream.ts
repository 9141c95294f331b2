import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { afterAll } from 'vitest'

type Respond = (response: ServerResponse) => unknown

/** A call that the test has not scripted fails with a 500. */
const rejectUnexpected: Respond = (response) => response.writeHead(500).end()

/**
 * Starts a scripted model server in OpenAI's wire format. `next` sets the response to the next call. It is closed after
 * the file's tests.
 */
export async function startUpstream() {
  const script: Respond[] = []
  const calls: { headers: IncomingHttpHeaders; body: unknown }[] = []
  const counts = { hungUp: 0 }
  const models: string[] = []
  const server = createServer(async (request, response) => {
    response.on('close', () => {
      if (!response.writableFinished) counts.hungUp += 1
    })
    if (request.method === 'GET') return sendJson({ data: models.map((id) => ({ id })) })(response)
    calls.push({ headers: request.headers, body: await json(request) })
    const respond = script.shift() ?? rejectUnexpected
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
    /** All calls of models, oldest first. */
    calls,
    /** What the server lists at `/models`. Nothing, as servers without such a list. */
    models,
    /** `hungUp`: calls that the client aborted. */
    counts,
    next: (respond: Respond) => void script.push(respond),
    /** Closes idle connections. A call that is reset on a reused connection would be sent again. */
    closeIdle: () => server.closeIdleConnections(),
  }
}

/** Sends chunks and leaves the stream open. */
export function beginChunks(response: ServerResponse, ...chunks: object[]): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  for (const chunk of chunks) response.write(`data: ${JSON.stringify(chunk)}\n\n`)
  return response
}

/** Returns a response that sends chunks and ends the stream. */
export const sendChunks =
  (...chunks: object[]): Respond =>
  (response) =>
    beginChunks(response, ...chunks).end('data: [DONE]\n\n')

/** Returns a response that sends a JSON body. */
export const sendJson =
  (body: object, status = 200, headers: Record<string, string> = {}): Respond =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))

/** Returns a chunk as model servers send it. */
export function chunk(delta: object, finish_reason: string | null = null) {
  return { ...start, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }] }
}

/** Returns a chat completion as model servers send it. */
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
