import { drawBars, drawLines, toSvg } from '@repo/measure/plot'
import type { Metric } from '../metrics.ts'
import type { Outcome, Row } from '../outcome.ts'
import type { Sample } from '../watch/sampler.ts'

/** Draws busy connections and streaming answers by number of clients. Empty if the scenario did not run. */
export function drawConnections(outcomes: Outcome[]): string {
  const rows = outcomes.find(({ scenario }) => scenario.name === 'streams')?.rows
  if (!rows) return ''
  const toSeries = (read: (sample: Sample) => number) =>
    rows.map(({ variant, runs }) => ({ name: variant, points: toCurve(runs[0]?.samples ?? [], read) }))
  const xLabel = 'clients'
  const busy = { title: 'Busy Postgres connections', xLabel, series: toSeries((sample) => sample.busy) }
  const streaming = { title: 'Streaming answers', xLabel, series: toSeries((sample) => sample.streaming) }
  return toSvg([drawLines(busy), drawLines(streaming)], 'Streaming answers and Postgres connections')
}

/** Returns the highest value at each number of open chats, until the first one has ended. */
function toCurve(samples: Sample[], read: (sample: Sample) => number): [number, number][] {
  const highest = new Map<number, number>()
  for (const sample of samples.filter(({ completed }) => completed === 0)) {
    highest.set(sample.open, Math.max(read(sample), highest.get(sample.open) ?? 0))
  }
  return [...highest].sort(([a], [b]) => a - b)
}

/** Draws the time to first token by arrival rate. Empty if the scenario did not run. */
export function drawWaiting(outcomes: Outcome[]): string {
  const steps = outcomes.filter(({ scenario }) => scenario.name.startsWith('arrivals'))
  const series = (steps[0]?.rows ?? []).map(({ variant }) => ({
    name: variant,
    points: steps.flatMap(({ scenario, rows }) => {
      const wait = readValue(rows, variant, 'firstTokenP99')
      return wait === undefined ? [] : [[scenario.load.perSecond ?? 0, wait] satisfies [number, number]]
    }),
  }))
  if (series.length === 0) return ''
  const title = 'Time to first token, p99, ms'
  return toSvg([drawLines({ title, xLabel: 'chats per second', isLog: true, series })], title)
}

/** Draws the CPU time per token. Empty if the scenario did not run. */
export function drawCosts(outcomes: Outcome[]): string {
  const groups = outcomes
    .filter(({ scenario }) => scenario.name.startsWith('tokens'))
    .map(({ scenario, rows }) => ({
      name: `${scenario.load.clients.toLocaleString('en')} streams, one token every ${scenario.load.intervalMs} ms`,
      bars: rows.map(({ variant }) => ({ name: variant, value: readValue(rows, variant, 'cpuPerToken') ?? 0 })),
    }))
  const title = 'CPU of the server, µs per token'
  return groups.length === 0 ? '' : toSvg([drawBars({ title, groups })], title)
}

function readValue(rows: Row[], name: string, metric: Metric): number | undefined {
  return rows.find(({ variant }) => variant === name)?.values[metric]
}
