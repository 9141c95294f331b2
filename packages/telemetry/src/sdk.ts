import { setTimeout as sleep } from 'node:timers/promises'
import { context, DiagLogLevel, diag, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor, type SpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { Llm } from '@repo/llm'
import type { FastifyBaseLogger } from 'fastify'
import { createWorkTracer, traceAnswer, traceStore } from './spans.ts'
import { traceModels } from './trace-models.ts'
import { traceRequests } from './trace-requests.ts'

export type Tracing = ReturnType<typeof startSdk>

const flushTimeoutMs = 2000 // a collector responds within a few ms; an unavailable one must not delay the exit
const quietMs = 60_000 // an unavailable collector would cause a log line every few seconds

/** The attributes that a span may have. None of them contains text that a user wrote, or its ID. */
const allowed = [
  'http.request.method',
  'http.route', // the pattern, never the URL, which contains questions and IDs
  'http.response.status_code',
  'gen_ai.operation.name',
  'gen_ai.provider.name',
  'gen_ai.tool.name', // the name of a tool's file
  'gen_ai.data_source.id',
  'gen_ai.request.model',
  'gen_ai.response.model', // as the model's server names it
  'gen_ai.response.id', // the server's own, to find a call in its log
  'gen_ai.response.finish_reasons',
  'gen_ai.usage.input_tokens',
  'gen_ai.usage.cache_read.input_tokens',
  'gen_ai.usage.output_tokens',
  'gen_ai.usage.reasoning.output_tokens',
  'sluice.status',
  'sluice.deltas',
  'sluice.first_token_ms',
  'db.system.name',
  'db.operation.name', // the name of a query, never SQL
  'messaging.system',
  'messaging.operation.name',
  'messaging.destination.name', // the name of a job's file
  'pgboss.job.retry_count',
  'error.type', // a code or a class, never a message
]

/** The attributes with texts, for operators who set `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`. */
const allowedContent = [
  'gen_ai.input.messages', // instructions included, which the API sends as a message
  'gen_ai.output.messages',
  'gen_ai.tool.call.arguments',
  'gen_ai.tool.call.result',
  'gen_ai.retrieval.query.text',
]

/**
 * Starts OpenTelemetry's SDK for the whole process. Up to 2,048 spans are queued and sent every 5 s. Spans that the
 * collector does not accept are dropped; no request waits or fails because of it. Other settings are the standard
 * `OTEL_…` variables. `hasContent`: spans of model calls and tools contain texts.
 */
export function startSdk(service: string, hasContent: boolean, log: FastifyBaseLogger) {
  diag.setLogger(createDiagLogger(log), DiagLogLevel.ERROR)
  const named = resourceFromAttributes({ 'service.name': service })
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(named)
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [
      keepOnly(hasContent ? [...allowed, ...allowedContent] : allowed),
      new BatchSpanProcessor(new OTLPTraceExporter()),
    ],
  })
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator()) // no baggage: it would forward client data
  trace.setGlobalTracerProvider(provider)
  return {
    /** Returns the `traceparent` header of the active span. */
    headers: () => {
      const headers: Record<string, string> = {}
      propagation.inject(context.active(), headers)
      return headers
    },
    traceModels: (llm: Llm) => traceModels(llm, hasContent),
    traceStore,
    traceAnswer,
    traceWork: createWorkTracer(hasContent),
    traceRequests,
    /** Sends the queued spans. Gives up after 2 s. */
    close: () => {
      const flushed = provider.shutdown().catch(() => {}) // already logged
      return Promise.race([flushed, sleep(flushTimeoutMs, undefined, { ref: false })])
    },
  }
}

/**
 * Removes all attributes that are not in `names`. Libraries add URLs with their query, job IDs and error messages,
 * and a database error quotes the whole statement.
 */
function keepOnly(names: string[]): SpanProcessor {
  const kept = new Set(names)
  return {
    onStart: () => {},
    onEnding: (span) => {
      for (const name of Object.keys(span.attributes)) if (!kept.has(name)) delete span.attributes[name]
      span.events.length = 0
      span.setStatus({ code: span.status.code })
    },
    onEnd: () => {},
    forceFlush: async () => {},
    shutdown: async () => {},
  }
}

function createDiagLogger(log: FastifyBaseLogger) {
  let quietUntil = 0
  const ignore = () => {}
  const error = () => {
    if (performance.now() < quietUntil) return
    quietUntil = performance.now() + quietMs
    log.warn('Failed to export traces. Check the collector and the OTEL_ variables.')
  }
  return { error, warn: ignore, info: ignore, debug: ignore, verbose: ignore }
}
