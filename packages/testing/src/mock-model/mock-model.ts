import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { canSharePort, listenMore } from '@repo/listen'
import { mockEmbedding } from './embedding.ts'
import { toMachineTime } from './machine-clock.ts'
import { createPacer, type Pacer } from './pacer.ts'
import { mockAnswer, readSettings, type Settings, seededToken, seedOf } from './settings.ts'
import { assertCallsAnswered, describeChat, findCallStep, type MockBody, startChunk, streamCall } from './tool-calls.ts'

export { mockEmbedding } from './embedding.ts'
export { mockAnswer, mockToken } from './settings.ts'
export type { MockBody } from './tool-calls.ts'

export type MockRequest = { path: string; headers: IncomingMessage['headers']; body: MockBody }
type MockOptions = {
  port?: number
  host?: string
  answerInstead?: (body: MockBody, response: ServerResponse) => boolean
}
export type MockModel = Awaited<ReturnType<typeof startMockModel>>

const keptRequests = 1000 // a load test must not fill the memory

/**
 * Starts a fake model server in OpenAI's wire format. Its answers are derived from the question, so that a test can
 * check every byte. The question also sets the pace and the faults (see `readSettings`). `url` is the value for
 * `OPENAI_BASE_URL`. The counts are also served at `/stats`. `answerInstead` may answer a chat itself, and then returns
 * true.
 */
export async function startMockModel({ port = 0, host = '127.0.0.1', answerInstead }: MockOptions = {}) {
  const pacer = createPacer()
  const requests: MockRequest[] = []
  const counts = { open: 0, started: 0, held: 0, completed: 0, aborted: 0, tokens: 0, embeddings: 0 }
  const stats = () => ({ ...counts, lateness: pacer.lateness() })
  let hold = Promise.withResolvers<void>()
  const untilReleased = async () => {
    counts.held += 1
    await hold.promise
    counts.held -= 1
  }

  const countChat = (response: ServerResponse) => {
    counts.started += 1
    counts.open += 1
    response.on('close', () => {
      counts.open -= 1
      counts[response.writableFinished || resets.has(response) ? 'completed' : 'aborted'] += 1
    })
  }

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? ''
    if (path === '/stats') return sendJson(response, 200, stats())
    // As the only model of llama.cpp, it accepts any name.
    const model = { id: 'mock', object: 'model', owned_by: 'llamacpp' }
    if (path === '/v1/models') return sendJson(response, 200, { object: 'list', data: [model] })
    const body: MockBody = JSON.parse(await text(request))
    requests.push({ path, headers: request.headers, body })
    if (requests.length > keptRequests) requests.shift()
    if (path === '/v1/embeddings') counts.embeddings += 1
    if (path === '/v1/embeddings') return sendEmbeddings(response, pacer, body)
    if (path !== '/v1/chat/completions') return sendError(response, 404, 'the mock has no route with this path')
    if (answerInstead?.(body, response)) return
    countChat(response)
    return sendChat({ response, pacer, counts, body, untilReleased })
  }

  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    answer(request, response).catch((error: Error) => sendError(response, 400, error.message))
  })
  server.listen({ port, host, reusePort: canSharePort })
  await once(server, 'listening')
  const listening = await listenMore(server)
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')
  return {
    url: `http://127.0.0.1:${address.port}/v1`,
    /**
     * Chats that are `open`, `held` until `release()`, `completed` (including those with a fault) or `aborted` by the
     * client. `tokens` is the number of streamed tokens and `lateness` is in ms.
     */
    stats,
    /** The last 1,000 requests, oldest first. */
    requests,
    /** Lets all answers go on that wait because of `hold`. */
    release: () => {
      hold.resolve()
      hold = Promise.withResolvers()
    },
    close: async () => {
      pacer.stop()
      await listening.stop()
      server.closeAllConnections()
      await listening.ended
    },
  }
}

type Chat = {
  response: ServerResponse
  pacer: Pacer
  counts: { tokens: number }
  body: MockBody
  untilReleased: () => Promise<void>
}

async function sendChat(chat: Chat) {
  const { response, pacer } = chat
  const { model, stream, messages = [] } = chat.body
  assertCallsAnswered(messages)
  const prompt = readQuestion(messages.findLast(({ role }) => role === 'user')?.content ?? '')
  const settings = readSettings(model, prompt)
  const { tokens, reasoning, interval, delay, hold } = settings
  if (hold === 0) await chat.untilReleased()
  await waitUntil(pacer, performance.now() + delay + (stream ? 0 : (reasoning + tokens) * interval))
  if (failInstead(response, settings)) return
  const call = stream && findCallStep(chat.body, settings, prompt)
  if (call) return streamCall({ response, pacer, start: startChunk(model) }, call, settings, prompt)
  if (stream) return streamChat(chat, prompt, settings)
  const message = {
    role: 'assistant',
    content: mockAnswer(prompt, tokens),
    reasoning_content: mockAnswer(prompt, reasoning),
  }
  const choices = [{ index: 0, message, finish_reason: 'stop' }]
  sendJson(response, 200, { ...describeChat(model, 'chat.completion'), choices, usage: usageOf(settings) })
}

/** Returns the text after the passages that the API puts before a question. */
function readQuestion(message: string | { text?: string }[]): string {
  const content = typeof message === 'string' ? message : message.map(({ text = '' }) => text).join('')
  const end = content.lastIndexOf('</passage-')
  return end === -1 ? content : content.slice(content.indexOf('>\n\n', end) + 3)
}

/** Streams tokens with one callback and one write per token, so that it stays on time at 40,000 tokens per second. */
function streamChat({ response, pacer, counts, body, untilReleased }: Chat, prompt: string, settings: Settings) {
  const { socket } = response
  if (!socket) return // the client has disconnected
  const { tokens, reasoning, interval, clock, fault } = settings
  const start = startChunk(body.model)
  const write = (choices: string, rest = '') => writeChunk(socket, `${start}${choices}]${rest}}\n\n`)
  const [beforeContent, beforeReasoning] = ['content', 'reasoning_content'].map(
    (name) => `${start}{"index":0,"delta":{"${name}":"`,
  )
  const seed = seedOf(prompt)
  const startedAt = performance.now()
  let index = 0
  let hold = settings.hold || undefined

  const sendToken = () => {
    if (index === 0) write('{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}')
    const due =
      clock && index === reasoning ? `@${Math.round(toMachineTime(startedAt + index * interval) * 1000)} ` : ''
    const before = index < reasoning ? beforeReasoning : beforeContent
    const token = seededToken(seed, index < reasoning ? index : index - reasoning)
    index += 1
    counts.tokens += 1
    return writeChunk(socket, `${before}${due}${token}"},"finish_reason":null}]}\n\n`)
  }
  const step = (now: number) => {
    while (!socket.destroyed) {
      if (fault?.at === index) return fail(response, fault.kind)
      if (index === reasoning + tokens) return finish()
      if (index === hold) {
        hold = undefined
        return void untilReleased().then(() => step(performance.now()))
      }
      const dueAt = startedAt + index * interval
      if (dueAt > now) return pacer.at(dueAt, step)
      if (!sendToken()) return void socket.once('drain', () => step(performance.now()))
    }
  }
  const finish = () => {
    write('{"index":0,"delta":{},"finish_reason":"stop"}')
    if (body.stream_options?.include_usage) write('', `,"usage":${JSON.stringify(usageOf(settings))}`)
    response.end('data: [DONE]\n\n')
  }

  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
  step(startedAt)
}

/** Writes an HTTP chunk with one write instead of the three of `response.write`. ASCII only. */
function writeChunk(socket: Socket, chunk: string): boolean {
  return socket.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`, 'latin1')
}

/** Connections that the mock reset itself. They do not count as aborted by the client. */
const resets = new WeakSet<ServerResponse>()

function reset(response: ServerResponse) {
  resets.add(response)
  response.socket?.resetAndDestroy()
}

function failInstead(response: ServerResponse, { fault, retryAfter }: Settings): boolean {
  if (!fault || fault.at !== undefined) return false
  if (retryAfter) response.setHeader('retry-after', retryAfter)
  if (fault.kind === 'reset') reset(response)
  else if (fault.kind !== 'hang') sendError(response, Number(fault.kind), 'requested mock failure')
  return true
}

function fail(response: ServerResponse, kind: string) {
  if (kind === 'reset') reset(response)
  if (kind === 'truncate') response.end()
  if (kind === 'garbage') response.end('data: {"choices": [{"del\n\n')
  if (kind === 'error') response.end('data: {"error":{"message":"requested mock failure","code":500}}\n\n')
  if (kind === 'long') response.end(`data: ${'x'.repeat(2 * 1024 * 1024)}\n\n`)
}

/**
 * The number of dimensions comes from `dimensions`, or from the end of the model name, or is that of the offline
 * embedder.
 */
async function sendEmbeddings(response: ServerResponse, pacer: Pacer, { model, input = [], dimensions }: MockBody) {
  const settings = readSettings(model, '')
  await waitUntil(pacer, performance.now() + settings.delay)
  if (failInstead(response, settings)) return
  const width = dimensions ?? Number(model.match(/-(\d+)(?:\?|$)/)?.[1] ?? 384)
  const data = [input]
    .flat()
    .map((item, index) => ({ object: 'embedding', index, embedding: mockEmbedding(item, width) }))
  sendJson(response, 200, {
    object: 'list',
    model,
    data,
    usage: { prompt_tokens: data.length, total_tokens: data.length },
  })
}

function usageOf({ tokens, reasoning }: Settings) {
  return { prompt_tokens: 10, completion_tokens: tokens + reasoning, total_tokens: 10 + tokens + reasoning }
}

function sendError(response: ServerResponse, status: number, message: string) {
  sendJson(response, status, { error: { message, type: 'mock', param: null, code: null } })
}

function sendJson(response: ServerResponse, status: number, body: object) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function waitUntil(pacer: Pacer, time: number): Promise<void> | undefined {
  return time > performance.now() ? new Promise((resolve) => pacer.at(time, () => resolve())) : undefined
}
