import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { findModel } from '../../chat/find-model.ts'
import { complete, streamCompletion } from '../complete.ts'
import { runCall } from '../run-call.ts'
import { ResponseRequest, responded } from './routes.schemas.ts'
import { createResponseOutput, toResponse } from './send-response.ts'
import { toCompletionBody } from './to-completion.ts'

const maxBodyBytes = 8 * 1024 * 1024 // a conversation with some images

const routes: FastifyPluginAsyncZod = async (app) => {
  const { searchPassages, llm, systemPrompt, reportFallback: onFallback } = app
  const refusals = { 400: ['unsupported_parameter', 'model_rejected'], 404: ['model_not_found'] }

  app.post(
    '/responses',
    {
      config: { scopes: ['chat'], rateLimit: true, streamsAnswer: true, problems: refusals },
      bodyLimit: maxBodyBytes,
      schema: {
        operationId: 'createResponse',
        summary: "Answer from the documents, as OpenAI's Responses API does; nothing is stored",
        body: ResponseRequest,
        response: { 200: responded },
      },
    },
    async (request, reply) => {
      const { body } = request
      const model = findModel(llm.completionModels, body.model)
      const completionBody = toCompletionBody(body)
      const options = { searchPassages, llm, systemPrompt, model, onFallback }
      if (body.stream) {
        const output = createResponseOutput(body)
        await runCall(app.chat, request, reply, (call) =>
          streamCompletion(options, request, completionBody, call, reply, output),
        )
        return reply
      }
      const completion = await runCall(app.chat, request, reply, (call) =>
        complete(options, request, completionBody, call, reply),
      )
      return completion ? toResponse(body, completion) : reply
    },
  )
}

export default routes
