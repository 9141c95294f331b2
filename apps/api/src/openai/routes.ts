import type { KeyScope } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { findModel } from '../chat/find-model.ts'
import { sendJsonPieces } from '../streaming/json-pieces.ts'
import { complete, forbidRetry, streamCompletion } from './complete.ts'
import {
  CompletionRequest,
  completed,
  EmbeddingRequest,
  EmbeddingResponse,
  Model,
  ModelList,
  ModelParams,
  ModelPath,
} from './routes.schemas.ts'
import { abortOnLeave, runCall, toCallProblem } from './run-call.ts'
import { measureEmbeddings, writeEmbeddings } from './write-embeddings.ts'

const refusals = { 400: ['unsupported_parameter', 'model_rejected'], 404: ['model_not_found'] }

const maxBodyBytes = 8 * 1024 * 1024 // a conversation with some images, or 2,048 texts to embed

const readers: KeyScope[] = ['read', 'chat']

const serveModels: FastifyPluginAsyncZod = async (app) => {
  const created = Math.floor(Date.now() / 1000)
  const models = [...new Set([...app.llm.completionModels.keys(), app.llm.embeddings.name])].map((id) => ({
    id,
    object: 'model' as const,
    created,
    owned_by: 'sluice',
  }))

  app.get(
    '/models',
    {
      config: { scopes: readers },
      schema: { operationId: 'listModels', summary: 'List the models', response: { 200: ModelList } },
    },
    async () => ({ object: 'list' as const, data: models }),
  )

  const byId = new Map(models.map((model) => [model.id, model]))
  app.get(
    '/models/:id',
    {
      config: { scopes: readers, problems: { 404: ['model_not_found'] } },
      schema: { operationId: 'readModel', summary: 'Read a model', params: ModelParams, response: { 200: Model } },
    },
    async ({ params }) => findModel(byId, params.id),
  )
  // Ids such as `vendor/model` whose slashes the client has not encoded
  const wholePath = { hide: true, params: ModelPath, response: { 200: Model } }
  app.get('/models/*', { config: { scopes: readers }, schema: wholePath }, async ({ params }) =>
    findModel(byId, params['*']),
  )
}

const routes: FastifyPluginAsyncZod = async (app) => {
  const { searchPassages, llm, systemPrompt, reportFallback: onFallback } = app
  const embedders = new Map([[llm.embeddings.name, llm.embeddings]])
  await app.register(serveModels)

  app.post(
    '/chat/completions',
    {
      config: { scopes: ['chat'], rateLimit: true, streamsAnswer: true, problems: refusals },
      bodyLimit: maxBodyBytes,
      schema: {
        operationId: 'createCompletion',
        summary: "Answer from the documents, as OpenAI's API does; nothing is stored",
        body: CompletionRequest,
        response: { 200: completed },
      },
    },
    async (request, reply) => {
      const { body } = request
      const model = findModel(llm.completionModels, body.model)
      const options = { searchPassages, llm, systemPrompt, model, onFallback }
      if (body.stream) {
        await runCall(app.chat, request, reply, (call) => streamCompletion(options, request, body, call, reply))
        return reply
      }
      const completion = await runCall(app.chat, request, reply, (call) =>
        complete(options, request, body, call, reply),
      )
      return completion ?? reply
    },
  )

  app.post(
    '/embeddings',
    {
      config: { scopes: ['chat'], rateLimit: true, problems: refusals },
      bodyLimit: maxBodyBytes,
      schema: {
        operationId: 'createEmbeddings',
        summary: 'Embed texts',
        body: EmbeddingRequest,
        response: { 200: EmbeddingResponse },
      },
    },
    async ({ body, owner, keyId }, reply) => {
      const model = findModel(embedders, body.model)
      const controller = new AbortController()
      abortOnLeave(reply, controller)
      forbidRetry(reply)
      const list = await model.create(body, controller.signal).catch((error) => {
        throw toCallProblem(error)
      })
      app.usage.count(owner, keyId, { kind: 'embedding', model: model.name, ...measureEmbeddings(list, body.input) })
      return sendJsonPieces(reply, writeEmbeddings(list, body.encoding_format))
    },
  )
}

export default routes
