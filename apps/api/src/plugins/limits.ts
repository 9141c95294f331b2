import underPressure from '@fastify/under-pressure'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ProblemError } from './errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A request to this route begins an answer: it is refused at once while no more may run. */
    streamsAnswer?: boolean
  }
}

const startMs = 2000 // two of the measure's seconds: in the first the process was still starting, which makes any loop late

/**
 * Refuses work that would come too late, before anything is spent on it: before auth, which asks the database, and before
 * the body is read. By how late the event loop is, and by how many answers run.
 */
async function limits(app: FastifyInstance) {
  let startsUntil = 0
  app.addHook('onListen', async () => {
    startsUntil = performance.now() + startMs
  })
  await app.register(underPressure, {
    maxEventLoopDelay: 300, // ms on average over a second; no token is in time then, and each new chat makes it worse
    pressureHandler: (request) => {
      // A busy process is alive: restarting it for that would move its load to the others.
      if (request.url.startsWith('/health/live') || performance.now() < startsUntil) return
      throw new ProblemError(503, 'overloaded', 'The server has too much to do; try again in a moment.', {
        retryAfterSeconds: 2,
      })
    },
  })
  app.addHook('onRequest', async ({ routeOptions }) => {
    if (routeOptions.config.streamsAnswer) app.chat.assertPlace()
  })
}

export default fp(limits, { name: 'limits', dependencies: ['errors'] })
