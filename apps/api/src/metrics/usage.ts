import { Counter, type Registry } from '@prometheus-io/client'
import { computeCost, type Prices } from '@repo/config'
import type { ModelCall } from '@repo/db'

/** Returns a function to call with each call of a model. The names of models are from the configuration. */
export function measureUsage(registry: Registry, prices: Prices): (call: ModelCall) => void {
  const options = { labelNames: ['kind', 'model'], registers: [registry] }
  const tokens = new Counter({
    ...options,
    name: 'sluice_model_tokens_total',
    help: 'Tokens of ended model calls, as in GET /usage. Estimated if the model server reports none.',
    labelNames: [...options.labelNames, 'direction'],
  })
  const cachedTokens = new Counter({
    ...options,
    name: 'sluice_model_cached_tokens_total',
    help: 'Input tokens that the model server read from its prompt cache. sluice_model_tokens_total contains them too.',
  })
  const cost = new Counter({
    ...options,
    name: 'sluice_model_cost_dollars_total',
    help: 'US dollars for the tokens of models that PRICES_FILE lists.',
  })
  return ({ kind, model, usage: { inputTokens, outputTokens, cachedInputTokens: cached = 0 } }) => {
    tokens.inc({ kind, model, direction: 'input' }, inputTokens)
    tokens.inc({ kind, model, direction: 'output' }, outputTokens)
    cachedTokens.inc({ kind, model }, cached)
    const dollars = computeCost(prices, { model, inputTokens, outputTokens, cachedTokens: cached })
    if (dollars !== undefined) cost.inc({ kind, model }, dollars)
  }
}
