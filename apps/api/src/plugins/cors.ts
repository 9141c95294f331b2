import cors from '@fastify/cors'
import type { Config } from '@repo/config'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** Allows browser requests from the origins in `CORS_ORIGINS`. Without it, only the API's own page may call. */
async function allowOrigins(app: FastifyInstance, { CORS_ORIGINS }: Pick<Config, 'CORS_ORIGINS'>) {
  if (CORS_ORIGINS.length === 0) return
  await app.register(cors, {
    origin: CORS_ORIGINS,
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    strictPreflight: false, // else OPTIONS without an origin is a 400 in plain text
    exposedHeaders: ['x-request-id', 'retry-after', 'x-vercel-ai-ui-message-stream'],
    maxAge: 3600, // seconds; a removed origin keeps working for at most an hour
  })
}

export default fp(allowOrigins, { name: 'cors' })
