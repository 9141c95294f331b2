import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { ChatModelList } from './models.schemas.ts'

const routes: FastifyPluginAsyncZod = async (app) => {
  const items = [...app.llm.chatModels.values()].map(({ name, capabilities, contextTokens, maxAnswerTokens }) => ({
    id: name,
    default: name === app.llm.chat.name,
    capabilities,
    contextTokens: contextTokens ?? null,
    maxAnswerTokens: maxAnswerTokens ?? null,
  }))

  app.get(
    '',
    {
      config: { scopes: ['read', 'chat'] },
      schema: {
        operationId: 'listChatModels',
        summary: 'List the chat models that a request may choose',
        response: { 200: ChatModelList },
      },
    },
    async () => ({ items, next: null }),
  )
}

export default routes
