import { drawLines, toSvg } from '@repo/measure/plot'
import { describe, type Verdict } from './judge.ts'
import type { Level, Measured } from './measure.ts'
import type { Options } from './options.ts'

const blindSpots = `It cannot see a connection that is checked out but idle, if the pool had opened it before. A cheap route that
reads the database shows such a full pool by its latency. It also sees no other database and no work after the answer.`

const columns: [title: string, read: (level: Level) => number | undefined, digits: number][] = [
  ['streams', ({ asked }) => asked, 0],
  ['open', ({ mean }) => mean('open'), 1],
  ['no byte yet', ({ mean }) => mean('queued'), 1],
  ['connections', ({ mean }) => mean('backends'), 1],
  ['busy', ({ mean }) => mean('busy'), 1],
  ['idle in transaction', ({ mean }) => mean('idleInTransaction'), 1],
  ['pooler clients', ({ mean }) => mean('clients'), 1],
  ['pooler queue', ({ mean }) => mean('waiting'), 1],
  ['cheap route p50 ms', ({ cheap }) => cheap.p50, 1],
  ['p95 ms', ({ cheap }) => cheap.p95, 1],
  ['failed', ({ cheap }) => cheap.failed, 0],
]

/** Returns header and rows, without PgBouncer's columns if its console was not given. */
function tabulate(levels: Level[], options: Options): string[][] {
  const shown = columns.filter(([title]) => options.pgbouncer || !title.startsWith('pooler'))
  const rows = levels.map((level) => shown.map(([, read, digits]) => read(level)?.toFixed(digits) ?? '-'))
  return [shown.map(([title]) => title), ...rows]
}

const describeLines = ({ lines }: Verdict) => [
  `all connections: ${describe(lines.all)}`,
  `busy, in a query or a transaction: ${describe(lines.busy)}`,
  `idle in a transaction, until a pool is full: ${describe(lines.idle)}`,
]

/** Returns the report for the terminal. */
export function formatReport({ levels }: Measured, verdict: Verdict, options: Options): string {
  const table = tabulate(levels, options)
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  const rows = table.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  '))
  return [...rows, '', ...describeLines(verdict), '', verdict.text].join('\n')
}

/** Returns the report as a self-contained page, without secrets: only the paths of URLs. */
export function createPage({ levels }: Measured, verdict: Verdict, options: Options): string {
  const [head = [], ...rows] = tabulate(levels, options)
  const toRow = (cells: string[], tag: string) => `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`
  const { origin, pathname } = new URL(options.request.url)
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Connections and streams</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:860px;margin:2rem auto;padding:0 1rem}
svg{max-width:100%;height:auto;margin:1rem 0}table{border-collapse:collapse}th,td{text-align:right;padding:.1rem .5rem}
</style>
<h1>${escapeHtml(verdict.text)}</h1>
<p>${escapeHtml(`${options.request.method} ${origin}${pathname}, ${new Date().toISOString()}`)}</p>
${draw(levels, verdict)}
<table>${toRow(head, 'th')}${rows.map((row) => toRow(row, 'td')).join('')}</table>
<ul>${describeLines(verdict)
    .map((line) => `<li>${line}</li>`)
    .join('')}</ul>
<p>${blindSpots}</p>
</html>
`
}

function draw(levels: Level[], { lines }: Verdict): string {
  const toPoints = (read: (level: Level) => number) =>
    levels.map((level): [number, number] => [level.mean('open'), read(level)]).sort(([a], [b]) => a - b)
  const widest = Math.max(...levels.map(({ mean }) => mean('open')))
  const { slope = 0, start = 0 } = lines.all ?? {}
  const xLabel = 'open streams'
  const connections = [
    { name: 'fit', points: [0, widest].map((x): [number, number] => [x, Math.max(0, start + slope * x)]) },
    { name: 'all', points: toPoints(({ mean }) => mean('backends')) },
    { name: 'busy', points: toPoints(({ mean }) => mean('busy')) },
  ]
  const times = [
    { name: 'p50', points: toPoints(({ cheap }) => cheap.p50 ?? 0) },
    { name: 'p95', points: toPoints(({ cheap }) => cheap.p95 ?? 0) },
  ]
  const charts = [
    drawLines({ title: 'Postgres connections', xLabel, series: connections }),
    drawLines({ title: 'Cheap route, ms', xLabel, isLog: true, series: times }),
  ]
  return toSvg(charts, 'Postgres connections and latency by open streams')
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
