import { randomUUID } from 'node:crypto'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { assertNoConnectionHeld, connect, createStore, type Store, toStorableText } from '@repo/db'
import { canSharePort, listenMore } from '@repo/listen'
import { createLlm, type Embedder } from '@repo/llm'
import { buildPrompt, retrievePassages } from '@repo/rag'
import {
  createUIMessageStream,
  type LanguageModel,
  pipeUIMessageStreamToResponse,
  streamText,
  toUIMessageStream,
} from 'ai'
import Fastify from 'fastify'
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { type Environment, run } from './run.ts'
import { toSource, toSourcePart } from './sources.ts'

// The template's store, retrieval and prompt, but with the AI SDK's `streamText` as its documentation shows. Measures the
// cost of its web streams per token. It does not resume streams, save progress or count metrics.

const ConversationId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)
const ChatRequest = z.object({
  message: z.string().max(32_000).regex(/\S/).transform(toStorableText),
  conversationId: ConversationId.default(() => randomUUID()),
})

async function serve({ databaseUrl, poolSize, modelUrl, chatModel, embeddingModel, port, host }: Environment) {
  // As with the plain driver of the floor variant, queries wait for a connection without a timeout.
  const { db, ping } = connect({ url: databaseUrl, poolSize, waitTimeoutMs: 600_000 })
  const store = createStore(db)
  const owner = await store.owners.ensure('local')
  const timeouts = { firstByteTimeoutMs: 120_000, idleTimeoutMs: 60_000 }
  const llm = createLlm({
    baseUrl: modelUrl,
    chatModel,
    embeddingModel,
    beforeCall: assertNoConnectionHeld,
    ...timeouts,
  })
  const provider = createOpenAICompatible({ name: 'bench', baseURL: modelUrl, includeUsage: true })
  const chat = createChat({ store, owner, embedder: llm.embedder, model: provider(chatModel) })

  const app = Fastify().withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler).setSerializerCompiler(serializerCompiler)

  app.post('/chat', { schema: { body: ChatRequest } }, async ({ body }, reply) => {
    const stream = await chat(body)
    reply.hijack()
    await pipeUIMessageStreamToResponse({ response: reply.raw, stream })
  })

  app.get('/conversations/:id', { schema: { params: z.object({ id: ConversationId }) } }, async (request, reply) => {
    const { id } = request.params
    const conversation = await store.conversations.read(owner, id, 50)
    if (!conversation) return reply.code(404).send({ status: 404 })
    return { ...conversation, messages: conversation.messages.reverse() }
  })

  app.get('/health/ready', async () => {
    await ping(2000)
    return { status: 'ok' }
  })

  const options = { port, host, reusePort: canSharePort }
  const url = await app.listen(options)
  await listenMore(app.server)
  return url
}

type ChatOptions = { store: Store; owner: string; embedder: Embedder; model: LanguageModel }

/** Returns a function that stores a question and returns the answer as a UI message stream. */
function createChat({ store, owner, embedder, model }: ChatOptions) {
  return async ({ message, conversationId }: z.output<typeof ChatRequest>) => {
    const turn = { conversationId, title: message.slice(0, 80), questionId: randomUUID(), answerId: randomUUID() }
    const [history, found] = await Promise.all([
      store.turns.open(owner, { ...turn, question: message }),
      retrievePassages({ store, embedder }, owner, message, { limit: 6 }),
    ])
    const passages = found.map(({ heading: title, text }, index) => ({ n: index + 1, title, text }))
    const sources = found.map(toSource)

    const result = streamText({
      model,
      messages: buildPrompt({ passages, history, question: message }).filter((message) => message.role !== 'tool'),
      allowSystemInMessages: true, // only the template's prompt; users' messages keep their own role
      onEnd: async ({ text, finishReason, usage: { inputTokens = null, outputTokens = null } }) => {
        const end = {
          parts: [{ type: 'text' as const, text: toStorableText(text) }],
          sources,
          finishReason,
          inputTokens,
          outputTokens,
          cachedTokens: null,
        }
        await store.answers.finish(owner, turn, { ...end, status: 'complete', error: null })
      },
      onError: async () => {
        const nothing = {
          parts: [],
          sources: [],
          finishReason: null,
          inputTokens: null,
          outputTokens: null,
          cachedTokens: null,
        }
        await store.answers.finish(owner, turn, { ...nothing, status: 'failed', error: 'The model failed.' })
      },
    })
    void result.consumeStream() // the answer continues and is stored when its client disconnects
    return createUIMessageStream({
      execute: ({ writer }) => {
        writer.write({ type: 'start', messageId: turn.answerId })
        writer.write({ type: 'data-conversation', data: { id: conversationId }, transient: true })
        for (const source of sources) writer.write(toSourcePart(source))
        writer.merge(toUIMessageStream({ stream: result.stream, sendStart: false }))
      },
    })
  }
}

await run(serve)
