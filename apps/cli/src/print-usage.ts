import { computeCost, type Prices } from '@repo/config'
import { createFeedbackExport, createUsageReport, type Db } from '@repo/db'

type PrintOptions = {
  db: Db
  prices: Prices
  /** Name of an owner. Unset: all owners. */
  owner?: string | undefined
  /** The first and the last day in UTC. Default: the last 30 days. */
  from?: string | undefined
  to?: string | undefined
  /** Whether to write comma-separated values instead of a table. */
  csv: boolean
  print: (line: string) => void
}

const dayMs = 86_400_000
const columns = [
  'day',
  'owner',
  'model',
  'kind',
  'requests',
  'inputTokens',
  'cachedInputTokens',
  'outputTokens',
  'reasoningTokens',
  'toolCalls',
  'estimated',
  'cost',
]

/**
 * Prints one line per day, owner, model and kind of call. The cost in US dollars is empty for a model without a price. Throws
 * if the owner is unknown or a date is invalid.
 */
export async function printUsage({ db, prices, owner, csv, print, ...days }: PrintOptions): Promise<void> {
  const { to = toDay(Date.now()) } = days
  const { from = toDay(toTime(to) - 29 * dayMs) } = days
  if (toTime(from) > toTime(to)) throw new Error(`Invalid dates: ${from} is after ${to}. Exchange them.`)
  if (owner !== undefined && !(await createFeedbackExport(db).hasOwner(owner)))
    throw new Error(`No owner has the name ${owner}. \`npm run manage -- list-keys\` lists owners with keys.`)
  const rows = (await createUsageReport(db).read({ owner, from, to })).map((row) => {
    const { day, model, kind, requests, inputTokens, cachedTokens, outputTokens, reasoningTokens } = row
    const cost = computeCost(prices, row)?.toFixed(6) ?? ''
    const counts = [requests, inputTokens, cachedTokens, outputTokens, reasoningTokens, row.toolCalls, row.estimated]
    return [day, row.owner, model, kind, ...counts.map(String), cost]
  })
  for (const line of csv ? [columns, ...rows].map(toCsv) : toTable([columns, ...rows])) print(line)
}

const toDay = (time: number) => new Date(time).toISOString().slice(0, 10)

function toTime(day: string): number {
  const time = Date.parse(day)
  if (/^\d{4}-\d\d-\d\d$/.test(day) && !Number.isNaN(time) && toDay(time) === day) return time
  throw new Error(`Invalid date ${day}. Use a date like 2026-11-30.`)
}

/** RFC 4180. */
function toCsv(values: string[]): string {
  return values.map((value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)).join(',')
}

/** Aligns columns: texts to the left, numbers to the right. */
function toTable(rows: string[][]): string[] {
  const widths = columns.map((_, column) => rows.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), 0))
  const align = (value: string, column: number) =>
    column < 4 ? value.padEnd(widths[column] ?? 0) : value.padStart(widths[column] ?? 0)
  return rows.map((row) => row.map(align).join('  ').trimEnd())
}
