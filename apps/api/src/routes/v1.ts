import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { complete, forbidRetry, streamCompletion } from '../completions/complete.ts'
import { encodeEmbeddings } from '../completions/encode-embeddings.ts'
import { CompletionRequest, CompletionResponse, EmbeddingRequest, EmbeddingResponse } from '../completions/requests.ts'
import { abortOnLeave, runCall, toCallProblem } from '../completions/run-call.ts'
import { openAiProblems, ProblemError } from '../plugins/errors.ts'

const Model = z.object({ id: z.string(), object: z.literal('model'), created: z.int(), owned_by: z.string() })
const ModelList = z.object({ object: z.literal('list'), data: z.array(Model) })

const ChunkStream = z.string().meta({ description: 'chat.completion.chunk events; the first has the citations' })
const completed = {
  description: 'The answer, streamed or whole',
  content: { 'application/json': { schema: CompletionResponse }, 'text/event-stream': { schema: ChunkStream } },
}

const maxBodyBytes = 8 * 1024 * 1024 // a conversation with a few pictures, or 2,048 texts to embed

const routes: FastifyPluginAsyncZod = async (app) => {
  const { store, llm, systemPrompt } = app
  const created = Math.floor(Date.now() / 1000)
  const models = [...new Set([llm.completions.name, llm.embeddings.name])].map((id) => ({
    id,
    object: 'model' as const,
    created,
    owned_by: 'sluice',
  }))

  app.get(
    '/models',
    {
      schema: { summary: 'List the models', tags: ['OpenAI'], response: { 200: ModelList, ...openAiProblems } },
    },
    async () => ({ object: 'list' as const, data: models }),
  )

  app.post(
    '/chat/completions',
    {
      config: { isCostly: true, startsAnswer: true },
      bodyLimit: maxBodyBytes,
      schema: {
        summary: 'Answer from the documents, as OpenAI’s API does; nothing is stored',
        tags: ['OpenAI'],
        body: CompletionRequest,
        response: { 200: completed, ...openAiProblems },
      },
    },
    async (request, reply) => {
      const { owner, body } = request
      assertServed(body.model, llm.completions.name)
      const answer = body.stream ? streamCompletion : complete
      const options = { store, llm, systemPrompt }
      const completion = await runCall(app.chat, request, reply, (call) => answer(options, owner, body, call, reply))
      return reply.sent ? reply : completion
    },
  )

  app.post(
    '/embeddings',
    {
      config: { isCostly: true },
      bodyLimit: maxBodyBytes,
      schema: {
        summary: 'Embed texts',
        tags: ['OpenAI'],
        body: EmbeddingRequest,
        response: { 200: EmbeddingResponse, ...openAiProblems },
      },
    },
    async ({ body }, reply) => {
      assertServed(body.model, llm.embeddings.name)
      const controller = new AbortController()
      abortOnLeave(reply, controller)
      forbidRetry(reply)
      const list = await llm.embeddings.create(body, controller.signal).catch((error) => {
        throw toCallProblem(error)
      })
      return encodeEmbeddings(list, body.encoding_format)
    },
  )
}

function assertServed(asked: string, served: string): void {
  if (asked === served) return
  throw new ProblemError(404, 'model_not_found', 'There is no such model here for this; GET /v1/models lists them.')
}

export default routes
