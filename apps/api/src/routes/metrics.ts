import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { problems } from '../plugins/errors.ts'

const MetricsResponse = z.string().meta({ description: 'https://prometheus.io/docs/instrumenting/exposition_formats' })
const metrics = { description: 'The metrics', content: { 'text/plain': { schema: MetricsResponse } } }

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '',
    {
      config: { pressureHandler: () => {} }, // overload is when they are wanted most
      schema: {
        summary: 'What the processes of this start count, for Prometheus',
        tags: ['health'],
        response: { 200: metrics, ...problems },
      },
    },
    async (_request, reply) => reply.type(app.metrics.contentType).send(await app.metrics.read()),
  )
}

export default routes
