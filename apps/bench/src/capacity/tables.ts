import {
  assumptions,
  deriveCosts,
  listLimits,
  listStatements,
  type Measured,
  type Measurements,
  planDeployment,
  predict,
  toWork,
  type UnitCosts,
} from './model.ts'
import { createPoolStatements } from './pooler.ts'
import { average, percentile, simulatePool, summarizePool } from './simulate.ts'

const sizes = [1000, 10_000, 100_000, 1_000_000]
const paces = [5, 20, 50] // tokens per second
const pools = [1, 2, 3, 4, 6, 8, 12, 20]
const exampleCores = 2
const goal = 0.2

/** Returns everything that follows from the measurements, as Markdown. */
export function toTables(measurements: Measurements): string {
  const units = deriveCosts(measurements.runs)
  const measured = { ...measurements, units }
  return [
    `Measured on ${measurements.machine}, among ${count(measurements.chunks)} chunks.`,
    section('What one unit costs', toCostTable(units)),
    section('The runs behind it', toRunTable(measurements)),
    section('What one core carries', toCoreTable(units)),
    section('What a deployment needs', toDeploymentTable(measured)),
    section('What is full first', toLimitTable(measured)),
    section('Prediction and real runs', toCheckTable(measured)),
    section('Waiting at the pooler', toWaitTable(measured)),
    section('Simulation and real pools', toPoolTable(measured)),
  ].join('\n\n')
}

const marks = ['<!-- tables: npm run bench -- --capacity -->', '<!-- end of tables -->']

/** Replaces the tables of a page. Throws if it has no marks for them. */
export function replaceTables(page: string, tables: string): string {
  const [start = '', end = ''] = marks
  const [from, to] = [page.indexOf(start), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`The page needs the lines "${start}" and "${end}" around its tables.`)
  return `${page.slice(0, from + start.length)}\n\n${tables}\n\n${page.slice(to)}`
}

function toCostTable(units: UnitCosts): string[][] {
  const names: [keyof UnitCosts, string, number][] = [
    ['chats', 'a chat without its tokens', 1],
    ['tokens', '1,000 tokens', 1000],
    ['streamSeconds', '1,000 streams for a second', 1000],
    ['processSeconds', 'an API process for a second', 1],
    ['chunks', 'a chunk', 1],
  ]
  const header = ['', 'API ms', 'worker ms', 'PgBouncer ms', 'Postgres ms', 'WAL kB', 'statements', 'connection ms']
  return [
    header,
    ...names.map(([kind, title, times]) => [title, ...Object.values(units[kind]).map((cost) => figure(cost * times))]),
  ]
}

function toRunTable({ runs }: Measurements): string[][] {
  const work = ['chats', 'tokens', 'streamSeconds', 'chunks'] as const
  const header = [
    'run',
    's',
    'chats',
    'tokens',
    'stream seconds',
    'chunks',
    'API ms',
    'worker ms',
    'PgBouncer ms',
    'Postgres ms',
  ]
  const list = Object.values(runs).map((run) => {
    const { api, worker, pgbouncer, postgres } = run.cost
    const costs = [api, worker, pgbouncer, postgres].map(figure)
    return [run.name, figure(run.seconds), ...work.map((kind) => count(run.work[kind])), ...costs]
  })
  return [header, ...list]
}

function toCoreTable(units: UnitCosts): string[][] {
  const perCore = (costMs: number) => count((1000 - units.processSeconds.api) / costMs)
  const streams = paces.map((pace) => {
    const cost = units.streamSeconds.api + pace * units.tokens.api
    return [`streams at ${pace} tokens per second`, perCore(cost), '1 core ÷ (stream second + tokens × token)']
  })
  const { api, postgres, pgbouncer } = units.chats
  return [
    ['one core, fully used, carries', 'number', 'formula'],
    ...streams,
    ['chats per second, API', perCore(api), '1 core ÷ chat'],
    ['chats per second, Postgres', perCore(postgres), '1 core ÷ chat'],
    ['chats per second, PgBouncer', perCore(pgbouncer), '1 core ÷ chat'],
    ['chunks per second, worker', perCore(units.chunks.worker), '1 core ÷ chunk'],
    ['chunks per second, Postgres', perCore(units.chunks.postgres), '1 core ÷ chunk'],
  ]
}

function toDeploymentTable(measured: Measured): string[][] {
  const limits = listLimits(measured)
  const plans = sizes.map((streams) => ({ streams, ...planDeployment(streams, measured) }))
  type Plan = (typeof plans)[number]
  const row = (title: string, formula: string, read: (plan: Plan) => string) => [title, ...plans.map(read), formula]
  const { utilization, tokensPerSecond, tokensPerAnswer, streamsPerProcess } = assumptions
  const used = `÷ ${utilization}`
  return [
    ['concurrent streams', ...sizes.map(count), 'formula'],
    row('tokens per second', `streams × ${tokensPerSecond}`, ({ tokens }) => count(tokens)),
    row('chats per second', `tokens ÷ ${tokensPerAnswer}`, ({ chats }) => count(chats)),
    row('API replicas', `CPU ${used}, and at most ${count(streamsPerProcess)} streams each`, ({ processes }) =>
      count(processes),
    ),
    row('API memory, GB', 'replicas × process + streams × stream', ({ apiMemoryGb }) => figure(apiMemoryGb)),
    row('worker cores', `chunks × chunk ${used}`, ({ workerCores }) => count(workerCores)),
    row('PgBouncers', `CPU ${used}, one core each`, ({ poolers }) => count(poolers)),
    row('connections in use on average', 'connection ms ÷ 1,000', ({ busyConnections }) => figure(busyConnections)),
    row('server connections', `simulated: 99 % wait at most ${assumptions.longestWaitMs} ms`, ({ connections }) =>
      connections === undefined ? 'none suffices' : count(connections),
    ),
    row('Postgres cores', `CPU ${used}`, ({ postgresCores }) => count(postgresCores)),
    row('Postgres memory, GB', 'chunks × chunk + connections × connection', ({ postgresMemoryGb }) =>
      figure(postgresMemoryGb),
    ),
    row('WAL, MB per second', 'sum over the work', ({ walMbPerSecond }) => figure(walMbPerSecond)),
    row('has become full', 'see the next table', ({ streams }) => listFull(limits, streams)),
  ]
}

/** Names what has become full since the next smaller size. */
function listFull(limits: ReturnType<typeof listLimits>, streams: number): string {
  const smaller = sizes.findLast((size) => size < streams) ?? 0
  const full = limits.filter((limit) => limit.streams >= smaller && limit.streams < streams).map(({ name }) => name)
  return full.join(', ') || 'nothing more'
}

function toLimitTable(measured: Measured): string[][] {
  const rows = listLimits(measured).map(({ name, streams, remedy }) => [name, count(streams), remedy])
  return [['what', 'full at this many streams', 'then'], ...rows]
}

function toCheckTable({ checks, units }: Measured): string[][] {
  const rows = checks.flatMap(({ load, run }) => {
    const { cost, work, seconds } = run
    const predicted = predict(work, units)
    const name = `${count(load.streams)} streams, ${load.tokensPerSecond} tokens per second, answers of ${load.tokensPerAnswer}, API processes: ${load.processes}`
    const parts = [
      ['cores of the API', 'api'],
      ['cores of PgBouncer', 'pgbouncer'],
      ['cores of Postgres', 'postgres'],
      ['connections in use', 'heldMs'],
    ] as const
    return [
      [name, 'chats per second', ...compare(toWork(load).chats, work.chats / seconds)],
      ...parts.map(([title, part]) => [
        name,
        title,
        ...compare(predicted[part] / 1000 / seconds, cost[part] / 1000 / seconds),
      ]),
    ]
  })
  return [['run', '', 'predicted', 'measured', 'difference', 'goal'], ...rows]
}

function compare(predicted: number, measured: number): string[] {
  const difference = predicted / measured - 1
  const percent = `${difference > 0 ? '+' : ''}${(difference * 100).toFixed(0)} %`
  return [figure(predicted), figure(measured), percent, Math.abs(difference) <= goal ? 'reached' : 'missed']
}

/** A Postgres of two cores at the planned utilization, with pools of several sizes. */
function toWaitTable(measured: Measured): string[][] {
  const one = predict(toWork({ ...assumptions, streams: 1, processes: 0 }), measured.units)
  const streams = Math.floor((exampleCores * 1000 * assumptions.utilization) / one.postgres)
  const kinds = listStatements(
    { ...assumptions, streams, processes: Math.ceil(streams / assumptions.streamsPerProcess) },
    measured,
  )
  const used = kinds.reduce((sum, { perSecond, meanMs }) => sum + (perSecond * meanMs) / 1000, 0)
  const rows = pools.map((connections) => {
    if (connections <= used) return [`${connections}`, 'grows', 'grows', 'grows']
    const { meanWaitMs, p99WaitMs, meanMs } = summarizePool(kinds, { connections, cores: exampleCores })
    return [`${connections}`, figure(meanWaitMs), figure(p99WaitMs), figure(meanMs)]
  })
  const header = [
    `connections, for ${count(streams)} streams and ${exampleCores} cores`,
    'mean wait ms',
    'p99 wait ms',
    'mean time with wait ms',
  ]
  return [header, ...rows]
}

function toPoolTable({ pools: checks, quantilesMs }: Measured): string[][] {
  const rows = checks.flatMap((check) => {
    const { connections, seconds, meanMs, measured } = check
    const planned = createPoolStatements(check, quantilesMs)
    const delayMs = meanMs - average(planned.map(({ otherMs }) => otherMs)) // of the machine, per statement
    const statements = planned.map((statement) => ({ ...statement, otherMs: statement.otherMs + delayMs }))
    const { waits, responses } = simulatePool(statements, { connections })
    const name = `${connections}, ${count(statements.length / seconds)} statements per second of ${meanMs.toFixed(1)} ms`
    return [
      [name, 'mean wait ms', ...compare(average(waits), measured.meanWaitMs)],
      [name, 'p99 time with wait ms', ...compare(percentile(responses, 0.99), measured.p99Ms)],
    ]
  })
  return [['connections', '', 'simulated', 'measured', 'difference', 'goal'], ...rows]
}

const significant = 2 // digits

function figure(value: number): string {
  if (Math.abs(value) >= 10 || value === 0) return count(value)
  return Number(value.toPrecision(significant)).toLocaleString('en', { maximumFractionDigits: 5 })
}

function count(value: number): string {
  const rounded = value >= 1000 ? Number(value.toPrecision(3)) : value
  return rounded.toLocaleString('en', { maximumFractionDigits: 0 })
}

function section(title: string, table: string[][]): string {
  return `### ${title}\n\n${toMarkdown(table)}`
}

/** Formats a table as the formatter does, with equally wide columns. */
function toMarkdown([header = [], ...rows]: string[][]): string {
  const widths = header.map((_, column) => Math.max(3, ...[header, ...rows].map((row) => row[column]?.length ?? 0)))
  const toLine = (cells: string[]) => `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  return [toLine(header), toLine(widths.map((width) => '-'.repeat(width))), ...rows.map(toLine)].join('\n')
}
