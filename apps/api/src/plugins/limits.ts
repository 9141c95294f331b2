import underPressure from '@fastify/under-pressure'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ProblemError } from './errors.ts'

/** Refuses work while the event loop is late. How many answers may stream at once is the chat's own limit. */
async function limits(app: FastifyInstance) {
  await app.register(underPressure, {
    maxEventLoopDelay: 300, // ms on average over a second; no token is in time then, and each new chat makes it worse
    pressureHandler: (request) => {
      // A busy process is alive: restarting it for that would move its load to the others.
      if (request.url.startsWith('/health/live')) return
      throw new ProblemError(503, 'overloaded', 'The server has too much to do; try again in a moment.', {
        retryAfterSeconds: 2,
      })
    },
  })
}

export default fp(limits, { name: 'limits', dependencies: ['errors'] })
