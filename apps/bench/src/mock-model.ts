import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { mockAnswer, mockEmbedding, mockToken, readSettings, type Settings } from './mock-settings.ts'
import { createPacer, type Pacer, untilWritable } from './pacer.ts'

export { mockAnswer, mockEmbedding, mockToken } from './mock-settings.ts'

export type MockBody = {
  model: string
  stream?: boolean
  messages?: { role: string; content: string }[]
  input?: string | string[]
  dimensions?: number
}
export type MockRequest = { path: string; headers: IncomingMessage['headers']; body: MockBody }
export type MockModel = Awaited<ReturnType<typeof startMockModel>>

const rememberedRequests = 1000 // a load test must not fill the memory

/**
 * A model server in OpenAI's wire format, without a model: its answers are words made from the question, so that every
 * byte can be checked, at the pace and with the faults that the question asks for (see `readSettings`).
 * `url` is what `OPENAI_BASE_URL` wants; GET /stats beside it tells the counts.
 */
export async function startMockModel({ port = 0 }: { port?: number } = {}) {
  const pacer = createPacer()
  const requests: MockRequest[] = []
  const counts = { open: 0, started: 0, completed: 0, aborted: 0 }
  const stats = () => ({ ...counts, lateness: pacer.lateness() })

  const count = (response: ServerResponse) => {
    counts.started += 1
    counts.open += 1
    response.on('close', () => {
      counts.open -= 1
      counts[response.writableFinished ? 'completed' : 'aborted'] += 1
    })
  }

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? ''
    if (path === '/stats') return sendJson(response, 200, stats())
    if (path === '/v1/models')
      return sendJson(response, 200, { object: 'list', data: [{ id: 'mock', object: 'model' }] })
    const body: MockBody = JSON.parse(await text(request))
    count(response)
    requests.push({ path, headers: request.headers, body })
    if (requests.length > rememberedRequests) requests.shift()
    if (path === '/v1/embeddings') return sendEmbeddings(response, body)
    if (path === '/v1/chat/completions') return sendChat(response, pacer, body)
    return sendJson(response, 404, { error: { message: 'no such route' } })
  }

  const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')
  return {
    url: `http://127.0.0.1:${address.port}/v1`,
    /** Calls: `open` now, `aborted` by their client; `lateness` in ms of what was sent at its time. */
    stats,
    /** The last 1,000, oldest first. */
    requests,
    close: async () => {
      pacer.stop()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function sendChat(response: ServerResponse, pacer: Pacer, { model, stream, messages = [] }: MockBody) {
  const prompt = messages.findLast(({ role }) => role === 'user')?.content ?? ''
  const settings = readSettings(model, prompt)
  await pacer.wait(settings.delay)
  const { fault, retryAfter } = settings
  if (fault && fault.at === undefined) {
    if (fault.kind === 'hang') return
    if (fault.kind === 'reset') return response.socket?.resetAndDestroy()
    if (retryAfter) response.setHeader('retry-after', retryAfter)
    return sendJson(response, Number(fault.kind), {
      error: { message: `asked for: ${prompt}`, type: 'mock', code: null },
    })
  }
  if (stream) return streamChat(response, pacer, prompt, settings)
  const usage = usageOf(settings)
  const message = { role: 'assistant', content: mockAnswer(prompt, settings.tokens) }
  return sendJson(response, 200, {
    ...chunkOf(model, []),
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage,
  })
}

async function streamChat(response: ServerResponse, pacer: Pacer, prompt: string, settings: Settings) {
  const { tokens, reasoning, interval, fault } = settings
  const startedAt = performance.now()
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
  const send = (choices: object[], rest?: object) =>
    response.write(`data: ${JSON.stringify({ ...chunkOf('mock', choices), ...rest })}\n\n`)
  send([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }])
  for (let index = 0; index < reasoning + tokens; index += 1) {
    if (interval > 0) await pacer.until(startedAt + index * interval)
    if (response.destroyed) return
    if (fault?.at === index) return fail(response, fault.kind)
    const isReasoning = index < reasoning
    const content = isReasoning ? mockToken('reasoning', index) : mockToken(prompt, index - reasoning)
    const isFlowing = send([
      { index: 0, delta: isReasoning ? { reasoning_content: content } : { content }, finish_reason: null },
    ])
    if (!isFlowing) await untilWritable(response)
  }
  send([{ index: 0, delta: {}, finish_reason: 'stop' }])
  send([], { usage: usageOf(settings) })
  response.end('data: [DONE]\n\n')
}

function fail(response: ServerResponse, kind: string) {
  if (kind === 'reset') response.socket?.resetAndDestroy()
  else if (kind === 'truncate') response.end()
  else if (kind === 'garbage') response.end('data: {"choices": [{"del\n\n')
  else if (kind === 'error') response.end('data: {"error":{"message":"the mock was asked to fail","code":500}}\n\n')
  else if (kind === 'long') response.end(`data: ${'x'.repeat(2 * 1024 * 1024)}\n\n`)
  else if (kind !== 'hang') throw new Error(`no such fault: ${kind}`)
}

function chunkOf(model: string, choices: object[]) {
  return { id: 'chatcmpl-mock', object: 'chat.completion.chunk', created: 0, model, choices }
}

function usageOf({ tokens, reasoning }: Settings) {
  return { prompt_tokens: 10, completion_tokens: tokens + reasoning, total_tokens: 10 + tokens + reasoning }
}

/** The width is `dimensions`, or the number at the end of the model's name, or that of the offline embedder. */
function sendEmbeddings(response: ServerResponse, { model, input = [], dimensions }: MockBody) {
  const { fault } = readSettings(model, '')
  if (fault) return sendJson(response, Number(fault.kind), { error: { message: 'asked for' } })
  const width = dimensions ?? Number(model.match(/-(\d+)$/)?.[1] ?? 384)
  const data = [input]
    .flat()
    .map((item, index) => ({ object: 'embedding', index, embedding: mockEmbedding(item, width) }))
  return sendJson(response, 200, { object: 'list', model, data, usage: { prompt_tokens: 1, total_tokens: 1 } })
}

function sendJson(response: ServerResponse, status: number, body: object) {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}
