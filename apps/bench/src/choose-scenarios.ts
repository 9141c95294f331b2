import type { Options } from './options.ts'
import { liveScenario, mostFilledByDefault, type Scenario, scenarios, shortWarmUp, type Variant } from './scenarios.ts'

/** Returns the scenarios to run, changed by the options. */
export function chooseScenarios(options: Options): Scenario[] {
  const { only, quick, live } = options
  const isDefault = (scenario: Scenario) => !scenario.isExtra && (!quick || live || scenario.quick !== undefined)
  return (live && !only ? [liveScenario] : scenarios)
    .filter(({ subject }) => !live || subject !== 'connections')
    .filter((scenario) => only?.includes(scenario.name) ?? isDefault(scenario))
    .map((scenario) => adapt(scenario, options))
}

function adapt(scenario: Scenario, options: Options): Scenario {
  const { quick, live } = options
  const { load, variants, warmUpSeconds = shortWarmUp } = (quick && scenario.quick) || scenario
  const asked = { ...scenario.load, ...load }
  asked.clients = options.streams ?? asked.clients
  asked.tokens = options.tokens ?? asked.tokens
  asked.seconds = options.seconds ?? asked.seconds
  asked.rampMs = Math.min(asked.rampMs, asked.seconds * 1000)
  const isChosen = (variant: Variant) => (live ? variant === 'pooled' : (options.variants?.includes(variant) ?? true))
  const { sizes, ...rest } = scenario
  const compared = sizes && !live ? { sizes: chooseSizes(sizes, options) } : {}
  return { ...rest, ...compared, warmUpSeconds, variants: variants.filter(isChosen), load: asked }
}

/** Returns the sizes of the corpus to compare. The largest only if its scenario was selected. */
function chooseSizes(sizes: number[], { chunks, only, quick }: Options): number[] {
  if (chunks) return [chunks]
  return only && !quick ? sizes : sizes.filter((size) => size <= mostFilledByDefault)
}
