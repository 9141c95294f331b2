import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { metrics } from './metrics.schemas.ts'

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '',
    {
      config: { allowMetricsScrape: true, neverShed: true }, // most useful under overload
      schema: {
        operationId: 'readMetrics',
        summary: 'Read the metrics of all processes, for Prometheus',
        response: { 200: metrics },
      },
    },
    async (_request, reply) => reply.type(app.metrics.contentType).send(await app.metrics.read()),
  )
}

export default routes
