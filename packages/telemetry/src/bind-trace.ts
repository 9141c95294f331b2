import { type Span, trace } from '@opentelemetry/api'

/** A logger whose lines name the trace that the caller, or `span`, is part of; the same one when there is none. */
export function bindTrace<Log extends { child: (bindings: object) => Log }>(
  log: Log,
  span: Span | undefined = trace.getActiveSpan(),
): Log {
  if (!span) return log
  const { traceId, spanId } = span.spanContext()
  return log.child({ trace_id: traceId, span_id: spanId })
}
