import { randomUUID } from 'node:crypto'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { assertNoConnectionHeld, connect, createStore, type Source, type Store, toStorableText } from '@repo/db'
import { canSharePort, listenMore } from '@repo/listen'
import { createLlm, type Embedder } from '@repo/llm'
import { buildPrompt, retrievePassages } from '@repo/rag'
import {
  createUIMessageStream,
  isStepCount,
  type LanguageModel,
  pipeUIMessageStreamToResponse,
  type StreamTextOnEndCallback,
  type StreamTextResult,
  streamText,
  type ToolSet,
  tool,
  toUIMessageStream,
  type UIMessageStreamWriter,
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

async function serve(environment: Environment) {
  const { databaseUrl, poolSize, modelUrl, chatModel, embeddingModel, isSearchTool, port, host } = environment
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
  const options = { store, owner, embedder: llm.embedder, model: provider(chatModel) }
  const chat = isSearchTool ? createToolChat(options) : createChat(options)

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

  const address = { port, host, reusePort: canSharePort }
  const url = await app.listen(address)
  await listenMore(app.server)
  return url
}

type ChatOptions = { store: Store; owner: string; embedder: Embedder; model: LanguageModel }

/** Returns a function that stores a question and returns the answer as a UI message stream. */
function createChat({ store, owner, embedder, model }: ChatOptions) {
  return async ({ message, conversationId }: Asked) => {
    const turn = createTurn(conversationId)
    const [history, found] = await Promise.all([
      store.turns.open(owner, { ...turn, title: message.slice(0, 80), question: message }),
      retrievePassages({ store, embedder }, owner, message, { limit: 6 }),
    ])
    const passages = found.map(({ heading: title, text }, index) => ({ n: index + 1, title, text }))
    const sources = found.map(toSource)
    const result = streamText({
      model,
      messages: toMessages({ passages, history, question: message }),
      allowSystemInMessages: true, // only the template's prompt; users' messages keep their own role
      ...storeAtEnd(store, owner, turn, () => sources),
    })
    return toStream(turn, result, (writer) => {
      for (const source of sources) writer.write(toSourcePart(source))
    })
  }
}

/** Like `createChat`, but the model searches, with a tool like that of the template. */
function createToolChat({ store, owner, embedder, model }: ChatOptions) {
  return async ({ message, conversationId }: Asked) => {
    const turn = createTurn(conversationId)
    const history = await store.turns.open(owner, { ...turn, title: message.slice(0, 80), question: message })
    const sources: Source[] = []
    const search_documents = tool({
      description: "Searches the user's documents and returns the best passages. Cite them as [n].",
      inputSchema: z.object({ query: z.string().min(1).max(1000) }),
      execute: async ({ query }) => {
        const found = await retrievePassages({ store, embedder }, owner, query, { limit: 6 })
        sources.push(...found.map(toSource))
        return {
          passages: found.map(({ heading: title, text, documentId }, index) => ({
            n: index + 1,
            title,
            text,
            documentId,
          })),
        }
      },
    })
    const result = streamText({
      model,
      messages: toMessages({ passages: [], history, question: message }),
      allowSystemInMessages: true,
      tools: { search_documents },
      stopWhen: isStepCount(5),
      ...storeAtEnd(store, owner, turn, () => sources),
    })
    return toStream(turn, result)
  }
}

type Asked = z.output<typeof ChatRequest>
type Turn = ReturnType<typeof createTurn>

const createTurn = (conversationId: string) => ({
  conversationId,
  questionId: randomUUID(),
  answerId: randomUUID(),
})

const toMessages = (content: Parameters<typeof buildPrompt>[0]) =>
  buildPrompt(content).filter((message) => message.role !== 'tool')

/** Returns the callbacks of `streamText` that store an answer, whose text alone is kept. */
function storeAtEnd(store: Store, owner: string, turn: Turn, readSources: () => Source[]) {
  const noUsage = { finishReason: null, inputTokens: null, outputTokens: null, cachedTokens: null }
  const onEnd: StreamTextOnEndCallback = async ({ text, finishReason, usage }) => {
    const { inputTokens = null, outputTokens = null } = usage
    const end = { ...noUsage, finishReason, inputTokens, outputTokens, status: 'complete' as const, error: null }
    const parts = [{ type: 'text' as const, text: toStorableText(text) }]
    await store.answers.finish(owner, turn, { ...end, parts, sources: readSources() })
  }
  const onError = async () => {
    const end = { ...noUsage, parts: [], sources: [], status: 'failed' as const, error: 'The model failed.' }
    await store.answers.finish(owner, turn, end)
  }
  return { onEnd, onError }
}

function toStream(
  { answerId, conversationId }: Turn,
  result: Pick<StreamTextResult<ToolSet, never, never>, 'consumeStream' | 'stream'>,
  writeSources?: (writer: UIMessageStreamWriter) => void,
) {
  void result.consumeStream() // the answer continues and is stored when its client disconnects
  return createUIMessageStream({
    execute: ({ writer }) => {
      writer.write({ type: 'start', messageId: answerId })
      writer.write({ type: 'data-conversation', data: { id: conversationId }, transient: true })
      writeSources?.(writer)
      writer.merge(toUIMessageStream({ stream: result.stream, sendStart: false }))
    },
  })
}

await run(serve)
