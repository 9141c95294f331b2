import otel from '@fastify/otel'
import { context } from '@opentelemetry/api'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { bindTrace } from './bind-trace.ts'

const untraced = /^\/(health\/|metrics$|live$)/ // polled by machines every few seconds

/**
 * Adds a span to each request, which lasts to the end of a stream, and its IDs to the request's log. Register it before
 * other hooks and routes.
 */
async function tracing(app: FastifyInstance) {
  const instrumentation = new otel.FastifyOtelInstrumentation({
    instrumentHooks: false, // a span per hook is useless and costs more than the hook
    instrumentHandler: false,
    recordExceptions: false,
    ignorePaths: ({ url }) => untraced.test(url),
    requestHook: (span, request) => {
      span.updateName(`${request.method} ${request.routeOptions.url ?? 'none'}`)
      request.log = bindTrace(request.log, span)
    },
  })
  await app.register(instrumentation.plugin())
  // Fastify reports nothing when a client disconnects during a stream.
  app.addHook('onRequest', (request, reply, done) => {
    const { span } = request.opentelemetry()
    reply.raw.once('close', () => span?.isRecording() && span.end())
    done()
  })
  // The body is read in the context of the socket. Restore the request's.
  app.addHook('preValidation', (request, _reply, done) => {
    const { context: requestContext } = request.opentelemetry()
    if (requestContext) context.with(requestContext, done)
    else done()
  })
}

export const traceRequests = fp(tracing, { name: 'tracing' })
