import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'

const Gone = z.undefined().meta({ description: 'Everything is gone, and the key is no longer valid' })

const routes: FastifyPluginAsyncZod = async (app) => {
  app.delete(
    '',
    {
      config: { scopes: [] }, // a key with scopes cannot delete other keys
      schema: {
        operationId: 'deleteMe',
        summary: 'Delete everything you have: documents, conversations and keys',
        description: 'Documents that you have shared belong to your organization and stay. It cannot be undone.',
        response: { 204: Gone },
      },
    },
    async ({ owner }, reply) => {
      await app.store.owners.remove(owner)
      return reply.code(204).send()
    },
  )
}

export default routes
