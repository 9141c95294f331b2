import { setTimeout as sleep } from 'node:timers/promises'
import { watchConnections } from '@repo/measure/connections'
import { startSampler } from '@repo/measure/sampler'
import type { Options } from './options.ts'
import { createStreams, type Streams, startTiming } from './streams.ts'

type Timing = ReturnType<ReturnType<typeof startTiming>['take']>
type Span = { asked: number; fromMs: number; toMs: number; cheap: Timing }
export type Sample = Streams['counts'] & Awaited<ReturnType<ReturnType<typeof watchConnections>['count']>>

/** What was measured with a number of streams. `mean` returns a mean over the time in which they were held. */
export type Level = { asked: number; cheap: Timing; mean: (name: keyof Sample) => number }

export type Measured = {
  levels: Level[]
  /** The most connections at any time, and the most whose state this user may not see. */
  most: Pick<Sample, 'backends' | 'hidden'>
  /** Failed streams by status, or by the code of a broken connection. */
  failures: Record<string, number>
  /** How long the streams that ended were open: the median. */
  lifetimeMs: number | undefined
}

/** Returns whether nearly all streams that were asked for were open. */
export const isReached = (asked: number, open: number): boolean => open >= 0.9 * asked

/**
 * Measures without streams, and then with more and more of them until a number is not reached. Closes all streams at the
 * end and when `signal` aborts. Throws if the database cannot be reached.
 */
export async function measure(options: Options, signal: AbortSignal, report: (line: string) => void) {
  const connections = watchConnections({ directDatabaseUrl: options.database, pgbouncerAdminUrl: options.pgbouncer })
  const streams = createStreams(options.request)
  try {
    await connections.count()
    const take = async () => ({ atMs: performance.now(), ...streams.counts, ...(await connections.count()) })
    const sampler = startSampler(take)
    const spans = await climb(options, streams, signal, report).finally(sampler.stop)
    return summarize(spans, await sampler.stop(), streams)
  } finally {
    streams.close()
    await connections.close()
  }
}

/** Holds each number of streams for a while. Returns when, and the times of the cheap route. */
async function climb(options: Options, streams: Streams, signal: AbortSignal, report: (line: string) => void) {
  const cheap = startTiming(options.cheap)
  const spans: Span[] = []
  try {
    for (const asked of [0, ...options.levels]) {
      streams.keep(asked)
      await settle(streams.counts, asked, options.waitMs, signal)
      await sleep(options.holdMs / 2, undefined, { signal }) // a server may send bytes before it takes a connection
      cheap.take()
      const fromMs = performance.now()
      await sleep(options.holdMs, undefined, { signal })
      spans.push({ asked, fromMs, toMs: performance.now(), cheap: cheap.take() })
      report(`${asked} streams: ${streams.counts.open} open`)
      if (!isReached(asked, streams.counts.open)) break
    }
    return spans
  } finally {
    cheap.close()
  }
}

/** Waits until that many streams are open, or no further one has opened for a while. */
async function settle(counts: { open: number }, asked: number, waitMs: number, signal: AbortSignal): Promise<void> {
  let [most, grownAt] = [0, performance.now()]
  while (counts.open < asked && performance.now() - grownAt < waitMs) {
    if (counts.open > most) [most, grownAt] = [counts.open, performance.now()]
    await sleep(20, undefined, { signal })
  }
}

function summarize(spans: Span[], samples: (Sample & { atMs: number })[], streams: Streams): Measured {
  const levels = spans.map(({ asked, fromMs, toMs, cheap }): Level => {
    const held = samples.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)
    const mean: Level['mean'] = (name) => held.reduce((sum, sample) => sum + sample[name], 0) / held.length
    return { asked, cheap, mean }
  })
  const highest = (name: keyof Sample) => Math.max(0, ...samples.map((sample) => sample[name]))
  const most = { backends: highest('backends'), hidden: highest('hidden') }
  return { levels, most, failures: streams.failures, lifetimeMs: streams.lifetimes.summarize()?.p50 }
}
