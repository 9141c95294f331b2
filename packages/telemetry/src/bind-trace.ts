import { type Span, trace } from '@opentelemetry/api'

/**
 * Returns a logger that adds the IDs of `span` to each line, by default those of the active span. Without a span,
 * returns `log`.
 */
export function bindTrace<Log extends { child: (bindings: object) => Log }>(
  log: Log,
  span: Span | undefined = trace.getActiveSpan(),
): Log {
  if (!span) return log
  const { traceId, spanId } = span.spanContext()
  return log.child({ trace_id: traceId, span_id: spanId })
}
