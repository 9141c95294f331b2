import cors from '@fastify/cors'
import type { Config } from '@repo/config'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** Lets the pages of `CORS_ORIGINS` call from a browser; with none, no other page may. */
async function allowOrigins(app: FastifyInstance, { CORS_ORIGINS }: Pick<Config, 'CORS_ORIGINS'>) {
  if (CORS_ORIGINS.length === 0) return
  await app.register(cors, {
    origin: CORS_ORIGINS,
    methods: ['GET', 'POST', 'DELETE'],
    exposedHeaders: ['x-request-id', 'retry-after', 'x-vercel-ai-ui-message-stream'],
    maxAge: 3600, // seconds until a browser asks again; an origin that is taken off the list loses an hour at most
  })
}

export default fp(allowOrigins, { name: 'cors' })
