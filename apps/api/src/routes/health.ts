import { describeDatabaseError } from '@repo/db'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { databaseCodes, databaseUnavailable, shuttingDown } from '../plugins/errors.ts'

const databaseDeadlineMs = 2000 // a healthy database responds within 2 ms; probes time out after a few seconds

const HealthResponse = z
  .object({ status: z.literal('ok') })
  .meta({ description: 'Healthy', examples: [{ status: 'ok' }] })

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '/live',
    {
      config: { neverShed: true }, // a busy process is alive: restarting it would move its load to the others
      schema: {
        operationId: 'isAlive',
        summary: 'Check that the process is running',
        response: { 200: HealthResponse },
      },
    },
    async () => ({ status: 'ok' as const }),
  )

  app.get(
    '/ready',
    {
      config: { problems: { 503: ['shutting_down', ...databaseCodes] } },
      schema: {
        operationId: 'isReady',
        summary: 'Check that the database accepts writes and the process is not shutting down',
        response: { 200: HealthResponse },
      },
    },
    async () => {
      if (app.chat.isDraining()) throw shuttingDown({ safeToRetry: true })
      await app.pingDatabase(databaseDeadlineMs).catch((error) => {
        throw databaseUnavailable(describeDatabaseError(error)?.code)
      })
      return { status: 'ok' as const }
    },
  )
}

export default routes
