import otel from '@fastify/otel'
import { context } from '@opentelemetry/api'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { bindTrace } from './bind-trace.ts'

const untraced = /^\/(health\/|metrics$|live$)/ // asked every few seconds, by machines

/** A span a request, for a stream to its end, and its ids in the request's log. Comes before other hooks and routes. */
async function tracing(app: FastifyInstance) {
  const instrumentation = new otel.FastifyOtelInstrumentation({
    instrumentHooks: false, // a span a hook says nothing and costs more than the hook
    instrumentHandler: false,
    recordExceptions: false,
    ignorePaths: ({ url }) => untraced.test(url),
    requestHook: (span, request) => {
      span.updateName(`${request.method} ${request.routeOptions.url ?? 'none'}`)
      request.log = bindTrace(request.log, span)
    },
  })
  await app.register(instrumentation.plugin())
  // Of a client that leaves in the middle of a stream Fastify says nothing.
  app.addHook('onRequest', (request, reply, done) => {
    const { span } = request.opentelemetry()
    reply.raw.once('close', () => span?.isRecording() && span.end())
    done()
  })
  // The body was read in another context: that of its socket.
  app.addHook('preValidation', (request, _reply, done) => {
    const { context: ofRequest } = request.opentelemetry()
    if (ofRequest) context.with(ofRequest, done)
    else done()
  })
}

export const traceRequests = fp(tracing, { name: 'tracing' })
