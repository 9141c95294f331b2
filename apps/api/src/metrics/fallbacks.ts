import { Counter, type Registry } from '@prometheus-io/client'
import type { Llm } from '@repo/llm'

/** Returns a function to call with each model that failed and the fallback that was called instead. */
export function measureFallbacks(
  registry: Registry,
  { chatModels }: Pick<Llm, 'chatModels'>,
): (model: string, fallback: string) => void {
  const fallbacks = new Counter({
    name: 'sluice_model_fallbacks_total',
    help: 'Model calls that a fallback took over, because the model failed before its first event.',
    labelNames: ['model', 'fallback'],
    registers: [registry],
  })
  for (const { name: model, fallback } of chatModels.values()) if (fallback) fallbacks.inc({ model, fallback }, 0)
  return (model, fallback) => fallbacks.inc({ model, fallback })
}
