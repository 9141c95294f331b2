import { prepareConversation, type Target } from './harness.ts'
import type { Load } from './load/plan.ts'
import { startLoad } from './load/start-load.ts'
import type { LoadResult } from './load/tally.ts'
import { measure, type Values } from './metrics.ts'
import { type Scenario, shortWarmUp } from './scenarios.ts'
import { measureEventLoop } from './watch/event-loop.ts'
import { type Sample, startSampler } from './watch/sampler.ts'
import { measureStalls } from './watch/stalls.ts'

export type Run = {
  values: Values
  result: LoadResult
  samples: Sample[]
}

/** Its settings are in the questions, and its questions are others. */
const warmUp = { clients: 20, rampMs: 0, tokens: 20, intervalMs: 5, isModelSet: false, seed: 2 }

/** Warms up a server, runs a scenario's load, and measures until it has ended. Rejects when `signal` aborts. */
export async function runOnce(scenario: Scenario, target: Target, signal: AbortSignal): Promise<Run> {
  const { load, subject, warmUpSeconds = shortWarmUp, sampleMs } = scenario
  const path = subject === 'conversation' ? await prepareConversation(target.url) : undefined
  const { url, pids, log, isModelSet = false } = target
  const whole: Load = { ...load, url, isModelSet, isSearch: subject === 'search', ...(path && { path }) }
  const { perSecond: _, ...asked } = whole
  await startLoad({ ...asked, ...warmUp, seconds: warmUpSeconds }, signal).result
  const { pid, counts, result } = startLoad(whole, signal)
  const sampler = startSampler({
    ...target,
    counts,
    pids: { ...pids, load: pid },
    ...(sampleMs && { intervalMs: sampleMs }),
  })
  const steadyMs = load.seconds * 1000 - load.rampMs
  const [ended, eventLoopP99, longestTurn] = await Promise.all([
    result.finally(sampler.stop),
    measureEventLoop(url, load.rampMs, steadyMs, signal),
    scenario.sendsLargest && log && pids.server ? measureStalls(url, pids.server, log, result) : undefined,
  ])
  const samples = await sampler.stop()
  const values = measure(ended, samples, load.rampMs, load.seconds * 1000)
  return { values: { ...values, eventLoopP99, longestTurn }, result: ended, samples }
}
