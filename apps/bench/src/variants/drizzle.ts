import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { chunks, conversations, documents, messages, owners, type Source, toStorableText } from '@repo/db'
import { canSharePort, listenMore } from '@repo/listen'
import { buildPrompt } from '@repo/rag'
import { and, desc, eq, sql } from 'drizzle-orm'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import Fastify from 'fastify'
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import postgres from 'postgres'
import { z } from 'zod'
import { type Environment, run } from './run.ts'
import { toSource, toSourcePart } from './sources.ts'

// What a careful developer writes with Fastify and Drizzle, without Sluice: a vector search, the history, two writes and
// a stream. It does not search keywords, resume streams, save progress, count metrics or guard connections.

const ConversationId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)
const ChatRequest = z.object({
  message: z.string().max(32_000).regex(/\S/).transform(toStorableText),
  conversationId: ConversationId.default(() => randomUUID()),
})
const historyLimit = 50 // messages, as in the other variants

type Db = PostgresJsDatabase

async function serve(environment: Environment): Promise<string> {
  const db = drizzle(postgres(environment.databaseUrl, { max: environment.poolSize, fetch_types: false }))
  const [row] = await db
    .insert(owners)
    .values({ name: 'local' })
    .onConflictDoUpdate({ target: owners.name, set: { name: 'local' } })
    .returning()
  const owner = row?.id ?? ''

  const app = Fastify().withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler).setSerializerCompiler(serializerCompiler)

  app.post('/chat', { schema: { body: ChatRequest } }, async (request, reply) => {
    const { message, conversationId } = request.body
    const earlier = await readMessages(db, owner, conversationId)
    const history = earlier.map(({ role, content }) => ({ role, content, start: 0, size: content.length }))
    await storeQuestion(db, owner, conversationId, message)
    const found = await findPassages(db, owner, environment.embeddingModel, await embed(environment, message))
    const passages = found.map(({ heading: title, text }, index) => ({ n: index + 1, title, text }))
    const tokens = await complete(environment, buildPrompt({ passages, history, question: message }))

    reply.hijack()
    const answer = { ownerId: owner, conversationId, id: randomUUID(), sources: found.map(toSource) }
    try {
      const content = await stream(reply.raw, answer, tokens)
      await db.insert(messages).values({ ...answer, role: 'assistant', status: 'complete', content })
      reply.raw.end('data: {"type":"finish"}\n\ndata: [DONE]\n\n')
    } catch (error) {
      request.log.error(error)
      reply.raw.destroy()
    }
  })

  app.get('/conversations/:id', { schema: { params: z.object({ id: ConversationId }) } }, async (request, reply) => {
    const found = await readMessages(db, owner, request.params.id)
    return found.length > 0 ? { messages: found.reverse() } : reply.code(404).send({ status: 404 })
  })

  app.get('/health/ready', async () => {
    await db.execute(sql`select 1`)
    return { status: 'ok' }
  })

  const address = { port: environment.port, host: environment.host, reusePort: canSharePort }
  const url = await app.listen(address)
  await listenMore(app.server)
  return url
}

/** Returns the newest messages of a conversation, newest first. */
function readMessages(db: Db, owner: string, conversationId: string) {
  const { id, role, content, status, sources, createdAt } = messages
  return db
    .select({ id, role, content, status, sources, createdAt })
    .from(messages)
    .where(and(eq(messages.ownerId, owner), eq(messages.conversationId, conversationId)))
    .orderBy(desc(messages.position))
    .limit(historyLimit)
}

async function storeQuestion(db: Db, ownerId: string, conversationId: string, content: string): Promise<void> {
  await db
    .insert(conversations)
    .values({ ownerId, id: conversationId, title: content.slice(0, 80) })
    .onConflictDoUpdate({ target: [conversations.ownerId, conversations.id], set: { updatedAt: new Date() } })
  await db
    .insert(messages)
    .values({ ownerId, conversationId, id: randomUUID(), role: 'user', content, status: 'complete' })
}

function findPassages(db: Db, owner: string, model: string, embedding: number[]) {
  const type = sql.raw(`halfvec(${embedding.length})`) // the index is on vectors of this width
  const { id: chunkId, documentId, heading, content: text, start, end, page } = chunks
  return db
    .select({ chunkId, documentId, title: documents.title, heading, text, start, end, page })
    .from(chunks)
    .innerJoin(documents, eq(documents.id, documentId))
    .where(and(eq(chunks.ownerId, owner), eq(chunks.embeddingModel, model)))
    .orderBy(sql`${chunks.embedding}::${type} <=> ${JSON.stringify(embedding)}::${type}`)
    .limit(6)
}

/** Writes an answer as a UI message stream, up to its end. Returns its text, even if the client disconnects. */
async function stream(
  response: ServerResponse,
  { id, conversationId, sources }: { id: string; conversationId: string; sources: Source[] },
  tokens: AsyncIterable<string>,
): Promise<string> {
  const send = (part: object) => response.write(`data: ${JSON.stringify(part)}\n\n`)
  response.writeHead(200, { 'content-type': 'text/event-stream', 'x-vercel-ai-ui-message-stream': 'v1' })
  send({ type: 'start', messageId: id })
  send({ type: 'data-conversation', data: { id: conversationId }, transient: true })
  for (const source of sources) send(toSourcePart(source))
  send({ type: 'text-start', id: '0' })
  let content = ''
  for await (const delta of tokens) {
    content += delta
    send({ type: 'text-delta', id: '0', delta })
  }
  send({ type: 'text-end', id: '0' })
  return toStorableText(content)
}

async function embed({ modelUrl, embeddingModel }: Environment, input: string): Promise<number[]> {
  const response = await post(`${modelUrl}/embeddings`, { model: embeddingModel, input })
  const { data }: { data: { embedding: number[] }[] } = JSON.parse(await response.text())
  return data[0]?.embedding ?? []
}

/** Returns the pieces of an answer as they arrive. Throws if the model rejects the request. */
async function complete({ modelUrl, chatModel }: Environment, prompt: object[]): Promise<AsyncIterable<string>> {
  const { body } = await post(`${modelUrl}/chat/completions`, { model: chatModel, messages: prompt, stream: true })
  return readDeltas(body ?? new ReadableStream())
}

async function* readDeltas(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = ''
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (!line.startsWith('data: {')) continue
      const { choices } = JSON.parse(line.slice('data: '.length))
      if (choices[0]?.delta.content) yield choices[0].delta.content
    }
  }
}

async function post(url: string, body: object): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`The model server responded with ${response.status}.`)
  return response
}

await run(serve)
