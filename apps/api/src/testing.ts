import { createServer, connect as dial, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { connect, createStore, type DocumentJob, ingestQueue, type Store } from '@repo/db'
import { startQueue } from '@repo/db/queue'
import { createTestDatabase, type TestDatabase } from '@repo/db/testing'
import { type AnswerEvent, type ChatRequest, createLlm, type Embedder, type Llm } from '@repo/llm'
import { processDocument } from '@repo/rag'
import type { FastifyInstance } from 'fastify'
import { type Logger, pino } from 'pino'
import { vi } from 'vitest'
import { z } from 'zod'
import { buildApp } from './app.ts'
import { type Config, readConfig } from './config.ts'
import { createModels } from './models.ts'
import { createKey } from './plugins/auth.ts'

export type TestApp = {
  app: FastifyInstance
  store: Store
  test: TestDatabase
  /** Headers of two owners, for whoever must not see the other. */
  alice: { authorization: string }
  bob: { authorization: string }
  /** Does what a worker would: the same work, from the real queue, until nothing is due. */
  work: () => Promise<void>
  /** Listens on a free port and gives the URL. */
  listen: () => Promise<string>
  close: () => Promise<void>
}

export type TestOptions = {
  /** As in the environment of `npm run api`; `CHAT_MODEL` and `OPENAI_BASE_URL` point it at a mock model. */
  environment?: Record<string, string>
  llm?: Llm
  logger?: Logger
  /** Goes to the database through here; see `openGate`. */
  gate?: Gate
}

/** The app as `npm run api` runs it, on a fresh database, with two owners. */
export async function testApp({
  environment = {},
  llm,
  logger = pino({ level: 'silent' }),
  gate,
}: TestOptions = {}): Promise<TestApp> {
  const test = await createTestDatabase()
  const databaseUrl = new URL(test.databaseUrl)
  if (gate) databaseUrl.host = gate.host
  const config: Config = readConfig({ DATABASE_URL: databaseUrl.href, ...environment })
  const database = connect({ url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE })
  const store = createStore(database.db)
  const models = llm ?? createModels(config)
  const app = await buildApp({ config, database, store, llm: models, logger })
  const headersFor = async (owner: string) => ({ authorization: `Bearer ${await createKey(store, owner)}` })
  return {
    app,
    store,
    test,
    alice: await headersFor('alice'),
    bob: await headersFor('bob'),
    work: () => workOff(test.databaseUrl, { store, embedder: models.embedder }),
    listen: () => app.listen({ port: 0, host: '127.0.0.1' }),
    close: async () => {
      await app.chat.drain(0)
      await app.close()
      models.close()
      await database.close()
      await test.drop()
    },
  }
}

async function workOff(databaseUrl: string, options: { store: Store; embedder: Embedder }) {
  const queue = await startQueue(databaseUrl, () => {})
  for (;;) {
    const [job] = await queue.fetch<DocumentJob>(ingestQueue)
    if (!job) break
    const { owner, documentId: id, version } = job.data
    await processDocument(options, owner, { id, version }).then(
      () => queue.complete(ingestQueue, job.id),
      () => queue.fail(ingestQueue, job.id),
    )
  }
  await queue.stop({ graceful: false })
}

type SpokenAnswer = {
  request: ChatRequest
  say: (text: string) => void
  think: (text: string) => void
  end: () => void
  fail: (error: Error) => void
}

/** A chat model whose answers the test speaks, delta by delta; the embedder is the offline one. */
export function createSpokenModel() {
  const answers: SpokenAnswer[] = []
  const stream = async (request: ChatRequest) => {
    const events = new PassThrough({ objectMode: true, highWaterMark: 100_000 })
    const write = (event: AnswerEvent) => void events.write([event])
    request.signal.throwIfAborted()
    request.signal.addEventListener('abort', () => events.destroy(request.signal.reason))
    answers.push({
      request,
      say: (text) => write({ type: 'text-delta', text }),
      think: (text) => write({ type: 'reasoning-delta', text }),
      end: () => events.end([{ type: 'finish', finishReason: 'stop' }]),
      fail: (error) => void events.destroy(error),
    })
    return events
  }
  const { embedder, completions, embeddings, close } = createLlm({
    baseUrl: 'http://127.0.0.1:9',
    beforeCall: () => {},
    firstByteTimeoutMs: 1000,
    idleTimeoutMs: 1000,
  })
  const llm: Llm = { chat: { name: 'spoken', stream }, embedder, completions, embeddings, close }
  return {
    llm,
    answers,
    /** The answer to the next question, once the app has asked it. */
    takeAnswer: (): Promise<SpokenAnswer> =>
      vi.waitFor(() => answers.shift() ?? Promise.reject(new Error('the app has asked the model nothing')), 120_000),
  }
}

type Gate = Awaited<ReturnType<typeof openGate>>

/** A TCP door to the tests' PgBouncer that can be shut, as when the database goes away, and opened again. */
export async function openGate() {
  const { hostname, port } = new URL(process.env.DATABASE_URL ?? '')
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const pooler = dial(Number(port), hostname)
    client.pipe(pooler).pipe(client)
    for (const socket of [client, pooler]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        pooler.destroy()
      })
    }
  })
  let listensOn = 0
  const open = async () => {
    await new Promise<void>((resolve) => server.listen(listensOn, '127.0.0.1', resolve))
    const address = server.address()
    if (address && typeof address === 'object') listensOn = address.port
  }
  const shut = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
  }
  /** Connections stay, and nothing comes through. */
  const stall = () => {
    for (const socket of sockets) socket.unpipe()
  }
  await open()
  return { host: `127.0.0.1:${listensOn}`, open, shut, stall }
}

/** A part of a UI message stream; the closing `[DONE]` is one too. `eventId` is the `id:` of its event. */
const Part = z.looseObject({
  type: z.string(),
  eventId: z.string().optional(),
  id: z.string().optional(),
  messageId: z.string().optional(),
  delta: z.string().optional(),
  errorText: z.string().optional(),
})
export type Part = z.output<typeof Part>

/** Posts JSON, as a client of its own process would. */
export function post(url: string, headers: Record<string, string>, body: unknown, signal?: AbortSignal) {
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  }
  return fetch(url, { ...init, ...(signal && { signal }) })
}

/** The parts of an answer as they arrive. */
export async function* streamParts({ body }: Response): AsyncGenerator<Part, undefined> {
  let text = ''
  for await (const chunk of body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const blocks = (text + chunk).split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) if (!block.startsWith(':')) yield parseEvent(block)
  }
}

function parseEvent(block: string): Part {
  const eventId = block.match(/^id: (.*)$/m)?.[1]
  const data = block.match(/^data: (.*)$/m)?.[1] ?? ''
  return data === '[DONE]' ? { type: data } : Part.parse({ ...JSON.parse(data), ...(eventId && { eventId }) })
}

/** All parts of an answer, or those that are left of it, once it has ended. */
export async function readParts(answer: Response | AsyncGenerator<Part, undefined>): Promise<Part[]> {
  const parts: Part[] = []
  for await (const part of answer instanceof Response ? streamParts(answer) : answer) parts.push(part)
  return parts
}

/** The next delta of an answer; the rest is still to be read. */
export async function readDelta(parts: AsyncGenerator<Part, undefined>): Promise<string | undefined> {
  let next = await parts.next()
  while (next.value && next.value.delta === undefined) next = await parts.next()
  return next.value?.delta
}

/** The kinds of parts in order, repetitions left out. */
export function listTypes(parts: Part[]): string[] {
  return parts.map(({ type }) => type).filter((type, index, types) => type !== types[index - 1])
}

/** The text of an answer as its reader sees it. */
export function joinText(parts: Part[]): string {
  return parts.map(({ type, delta }) => (type === 'text-delta' ? (delta ?? '') : '')).join('')
}
