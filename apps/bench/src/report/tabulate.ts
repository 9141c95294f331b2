import { type Metric, metricNames, metrics } from '../metrics.ts'
import { nameRow, type Outcome, type Row } from '../outcome.ts'
import type { Goal, Variant } from '../scenarios.ts'

/** An outcome as a table of strings: a line per metric, a column per variant, and ratios for CPU costs. */
export type Tabulated = {
  header: string[]
  lines: string[][]
  /** Failures by kind. */
  failures: string[]
  goals: { text: string; isReached: boolean | undefined }[]
}

const baselines: Variant[] = ['floor', 'drizzle', 'ai-sdk'] // these answer the same chats, so their costs are comparable

/** Converts an outcome to a table. */
export function tabulate({ scenario, rows }: Outcome): Tabulated {
  const sluice = rows.find(({ variant }) => variant === 'pooled')
  const others = rows.filter(({ variant }) => baselines.includes(variant))
  const shown = metricNames.filter((metric) => metric === 'failed' || rows.some(({ values }) => values[metric]))
  const ratioTo = (metric: Metric, other: Row) => {
    const ratio = metrics[metric].isCost ? divide(sluice?.values[metric], other.values[metric]) : undefined
    return ratio === undefined ? '' : `${ratio.toFixed(2)}x`
  }
  return {
    header: ['', ...rows.map(nameRow), ...others.map(({ variant }) => `pooled/${variant}`)],
    lines: shown.map((metric) => [
      metrics[metric].title,
      ...rows.map(({ values }) => format(metric, values[metric])),
      ...others.map((other) => ratioTo(metric, other)),
    ]),
    failures: rows.flatMap((row) =>
      row.runs.flatMap(({ result }) =>
        Object.entries(result.failures).map(([kind, count]) => `${nameRow(row)}: ${count} × ${kind}`),
      ),
    ),
    goals: scenario.goals.flatMap((goal) => judge(goal, rows)),
  }
}

/** Returns whether a goal was reached, or nothing if the variant to compare with did not run. */
function judge(goal: Goal, rows: Row[]): Tabulated['goals'] {
  const { metric, over, atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY } = goal
  const read = (name: string) => rows.find(({ variant }) => variant === name)?.values[metric]
  if (over && !rows.some(({ variant }) => variant === over)) return []
  const value = over ? divide(read('pooled'), read(over)) : read('pooled')
  const limit = `${goal.atMost === undefined ? 'at least' : 'at most'} ${goal.atMost ?? goal.atLeast}`
  const shown = value === undefined ? 'not measured' : over ? `${value.toFixed(2)}x` : format(metric, value)
  const text = `${metrics[metric].title}${over ? ` relative to ${over}` : ''}: ${shown}, goal: ${limit}${over ? 'x' : ''}`
  return [{ text, isReached: value === undefined ? undefined : value <= atMost && value >= atLeast }]
}

function format(metric: Metric, value: number | undefined): string {
  return value === undefined ? '-' : value.toFixed(metrics[metric].digits)
}

function divide(value: number | undefined, by: number | undefined): number | undefined {
  return value !== undefined && by ? value / by : undefined
}
