import { setTimeout as sleep } from 'node:timers/promises'
import { context, DiagLogLevel, diag, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor, type SpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { FastifyBaseLogger } from 'fastify'
import { traceAnswer, traceModels, traceStore } from './spans.ts'
import { traceRequests } from './trace-requests.ts'

export type Tracing = ReturnType<typeof startSdk>

const flushTimeoutMs = 2000 // a collector takes a few ms; one that is away does not hold up the end of the process
const quietMs = 60_000 // a collector that is away would be a line every few seconds

/** What a span may say beside its name and its times. None of these is anything that a user wrote, or an id of it. */
const allowed = new Set([
  'http.request.method',
  'http.route', // the pattern, never the URL: that holds questions and ids
  'http.response.status_code',
  'gen_ai.operation.name',
  'gen_ai.request.model',
  'gen_ai.response.finish_reasons',
  'gen_ai.usage.input_tokens',
  'gen_ai.usage.output_tokens',
  'sluice.status',
  'sluice.deltas',
  'sluice.first_token_ms',
  'db.system.name',
  'messaging.system',
  'messaging.operation.name',
  'messaging.destination.name', // the name of a job's file
  'pgboss.job.retry_count',
  'error.type', // a code or a class, never a message
])

/**
 * OpenTelemetry's SDK, for the whole process. Spans wait in a queue of 2,048 and are sent every 5 s; what the collector
 * does not take is dropped, and no request waits for it or fails. All other settings are the standard `OTEL_…` variables.
 */
export function startSdk(service: string, log: FastifyBaseLogger) {
  diag.setLogger(createDiagLogger(log), DiagLogLevel.ERROR)
  const named = resourceFromAttributes({ 'service.name': service })
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(named)
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [keepAllowed, new BatchSpanProcessor(new OTLPTraceExporter())],
  })
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator()) // no baggage: a client's would go on to the vendor
  trace.setGlobalTracerProvider(provider)
  return {
    /** `traceparent` of the span that the caller is in, for whoever is called. */
    headers: () => {
      const headers: Record<string, string> = {}
      propagation.inject(context.active(), headers)
      return headers
    },
    traceModels,
    traceStore,
    traceAnswer,
    traceRequests,
    /** Sends what waits, for at most 2 s. */
    close: () => {
      const flushed = provider.shutdown().catch(() => {}) // the log has said so
      return Promise.race([flushed, sleep(flushTimeoutMs, undefined, { ref: false })])
    },
  }
}

/**
 * By allow-list, as the log is: libraries put URLs with their query, ids of jobs, and messages of errors into spans, and
 * those of the database quote whole statements.
 */
const keepAllowed: SpanProcessor = {
  onStart: () => {},
  onEnding: (span) => {
    for (const name of Object.keys(span.attributes)) if (!allowed.has(name)) delete span.attributes[name]
    span.events.length = 0
    span.setStatus({ code: span.status.code })
  },
  onEnd: () => {},
  forceFlush: async () => {},
  shutdown: async () => {},
}

function createDiagLogger(log: FastifyBaseLogger) {
  let quietUntil = 0
  const nothing = () => {}
  const error = () => {
    if (performance.now() < quietUntil) return
    quietUntil = performance.now() + quietMs
    log.warn('OpenTelemetry could not do its work: does the collector answer, and are the OTEL_ variables right?')
  }
  return { error, warn: nothing, info: nothing, debug: nothing, verbose: nothing }
}
