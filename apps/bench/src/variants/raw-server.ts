import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { toStorableText } from '@repo/db'
import { canSharePort, listenMore } from '@repo/listen'
import { type ChatOptions, createChat } from './raw-chat.ts'
import { createModelClient } from './raw-model.ts'
import { connectRaw, ensureOwner, readConversation, type Turn } from './raw-queries.ts'
import { prepareVectorSearch } from './raw-search.ts'
import { readBytes, toText } from './raw-text.ts'
import type { Environment } from './run.ts'

type Hooks = {
  withConnection?: ChatOptions['withConnection']
  /** Called synchronously for each chat. */
  isAllowed?: (request: IncomingMessage) => boolean
}

/** Serves the three measured routes of the API with only `node:http` and `postgres`. Returns the URL. */
export async function serveRaw(environment: Environment, hooks: Hooks = {}): Promise<string> {
  const { withConnection = (sql, work) => work(sql), isAllowed = () => true } = hooks
  const sql = connectRaw(environment.databaseUrl, environment.poolSize)
  const owner = await ensureOwner(sql)
  const model = createModelClient(environment)
  const search = prepareVectorSearch(environment.embeddingModel)
  const chat = createChat({ sql, owner, model, search, withConnection })

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const { url = '', method } = request
    if (method === 'POST' && url === '/chat') {
      if (!isAllowed(request)) return sendProblem(response, 401)
      const turn = readTurn(await readBytes(request))
      return turn ? chat(response, turn) : sendProblem(response, 400)
    }
    if (url.startsWith('/conversations/')) {
      const conversation = await readConversation(sql, owner, url.slice('/conversations/'.length))
      return conversation ? sendJson(response, conversation) : sendProblem(response, 404)
    }
    if (url !== '/health/ready') return sendProblem(response, 404)
    await sql`select 1`
    sendJson(response, '{"status":"ok"}')
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (response.headersSent) response.destroy()
      else sendProblem(response, isConflict(error) ? 409 : 502)
    })
  })
  const { port, host } = environment
  await once(server.listen({ port, host, reusePort: canSharePort }), 'listening')
  await listenMore(server)
  const address = server.address()
  return `http://${host}:${typeof address === 'object' ? address?.port : port}`
}

const isId = /^[A-Za-z0-9_-]{1,64}$/

/** Parses the body `{message, conversationId?}`. Returns undefined if it is invalid. */
function readTurn(body: string): Turn | undefined {
  const { message, conversationId = randomUUID() } = parseObject(toText(body))
  if (typeof message !== 'string' || message.length > 32_000 || message.trim() === '') return undefined
  if (typeof conversationId !== 'string' || !isId.test(conversationId)) return undefined
  const question = toStorableText(message)
  const title = Array.from(question.slice(0, 160).replaceAll(/\s+/g, ' ').trim()).slice(0, 80).join('')
  return { conversationId, questionId: randomUUID(), question, title, answerId: randomUUID() }
}

function parseObject(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) ?? {}
  } catch {
    return {}
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '23505'
}

function sendJson(response: ServerResponse, body: string): void {
  response.writeHead(200, [
    'content-type',
    'application/json; charset=utf-8',
    'content-length',
    String(Buffer.byteLength(body)),
  ])
  response.end(body)
}

function sendProblem(response: ServerResponse, status: number): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ status }))
}
