import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'

const MetricsResponse = z.string().meta({
  description: 'https://prometheus.io/docs/instrumenting/exposition_formats',
  examples: [
    '# HELP sluice_open_streams Answers being generated\n# TYPE sluice_open_streams gauge\nsluice_open_streams 3\n',
  ],
})
const metrics = { description: 'The metrics', content: { 'text/plain': { schema: MetricsResponse } } }

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
