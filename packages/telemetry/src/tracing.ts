import type { TracingConfig } from '@repo/config'
import type { FastifyBaseLogger } from 'fastify'
import type { Tracing } from './sdk.ts'

export type { Tracing } from './sdk.ts'

/**
 * Starts tracing to the collector in `OTEL_EXPORTER_OTLP_ENDPOINT`. Without one, returns undefined and does not load
 * the SDK.
 */
export async function startTracing(
  config: TracingConfig,
  service: string,
  log: FastifyBaseLogger,
): Promise<Tracing | undefined> {
  if (!config.OTEL_EXPORTER_OTLP_ENDPOINT) return undefined
  const hasContent = config.OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT
  const { startSdk } = await import('./sdk.ts')
  return startSdk(service, hasContent, log)
}
