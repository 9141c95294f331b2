import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { withDatabase } from '@repo/db/testing'
import { createDatabases } from '../corpus/databases.ts'
import type { Stack } from '../harness.ts'
import type { Options } from '../options.ts'
import { defaultChunks } from '../scenarios.ts'
import { measureIngestion, measureRun, toPlan } from './measure.ts'
import type { Load, Measurements } from './model.ts'
import { addNames, checkPool, startTap } from './pooler.ts'
import { toQuantiles } from './simulate.ts'
import { replaceTables, toTables } from './tables.ts'

const poolSizes = [2, 4] // small enough that statements wait
const slowMs = 1000 // between two tokens
const fastMs = 50 // the pace of `assumptions`; a faster one delivers several tokens at once, each of which costs less
const [fastShare, rampPerSecond] = [0.2, 60] // of the streams; chats that start per second, without a backlog
const chatShare = 0.05 // chats per second and stream, so that all runs keep the machine about equally busy

/** Measures the costs of each kind of work, compares them with real runs, and writes `capacity.json` and `capacity.md`. */
export async function runCapacity(options: Options, stack: Stack, signal: AbortSignal): Promise<void> {
  const measurements = await measureAll(options, stack, signal)
  mkdirSync(options.out, { recursive: true })
  const file = options.json ?? join(options.out, 'capacity.json')
  writeFileSync(file, `${JSON.stringify(measurements, roundNumbers, 2)}\n`)
  reportCapacity({ ...options, from: file })
}

/** Prints the tables that follow from the measurements in the file `from`, and writes them to a page if one was given. */
export function reportCapacity({ from = '', page }: Pick<Options, 'from' | 'page'>): void {
  const measurements: Measurements = JSON.parse(readFileSync(from, 'utf8'))
  const tables = toTables(measurements)
  console.log(tables)
  if (page) writeFileSync(page, replaceTables(readFileSync(page, 'utf8'), tables))
}

async function measureAll(options: Options, stack: Stack, signal: AbortSignal): Promise<Measurements> {
  const { streams = 1000, seconds = 12, chunks = defaultChunks } = options
  const openCorpus = createDatabases(stack, console.error, signal)
  const open = async () => ({ ...stack, ...(await openCorpus(chunks)) })
  const settleSeconds = Math.min(2, seconds / 2)
  const warmUpSeconds = Math.min(6, seconds) // V8 compiles for that long
  const run = async (
    plan: Omit<Parameters<typeof measureRun>[1], 'warmUpSeconds' | 'settleSeconds' | 'seconds'>,
    on?: Stack,
  ) => {
    console.error(`capacity: ${plan.name}`)
    const all = plan.rampMs / 1000 + settleSeconds + seconds + 0.5 // a reserve
    const load = { ...plan, warmUpSeconds, settleSeconds, seconds: all }
    return measureRun(on ?? (await open()), load, seconds, signal)
  }
  /** Streams that are open during the whole measurement, so that no chat begins or ends in it. */
  const stream = (name: string, clients: number, intervalMs: number) => {
    const rampMs = (clients / rampPerSecond) * 1000
    const tokens = Math.ceil((rampMs + (seconds + 2 * settleSeconds) * 1000) / intervalMs)
    return run({ name, clients, rampMs, intervalMs, tokens })
  }
  const idle = await stream('idle', 1, slowMs)
  const slow = await stream('slow', streams, slowMs)
  const fast = await stream('fast', Math.ceil(streams * fastShare), fastMs)
  const oneToken = { clients: 1, rampMs: 0, tokens: 1, intervalMs: 0, perSecond: Math.ceil(streams * chatShare) }
  const chats = await run({ name: 'chats', ...oneToken })
  const quantilesMs = await measureTimes(await open(), (tapped, onBegin) =>
    run({ name: 'times', ...oneToken, onBegin }, tapped),
  )
  const checks: Measurements['checks'] = []
  for (const load of listChecks(streams, seconds))
    checks.push({ load, run: toRun(await run({ name: 'check', ...toPlan(load) })) })
  console.error('capacity: ingestion')
  const { chunkKb, ...ingestion } = await measureIngestion(await open(), Math.ceil(2.5 * seconds), signal)
  const pools: Measurements['pools'] = []
  for (const size of poolSizes) {
    console.error(`capacity: a pool of ${size}`)
    pools.push(await checkPool(await open(), size, 2 * seconds, quantilesMs))
  }
  const runs = { idle: toRun(idle), slow: toRun(slow), fast: toRun(fast), chats: toRun(chats), ingestion }
  const [before, after] = slow.apiKb
  const memory = { processKb: before, streamKb: (after - before) / slow.open, connectionKb: slow.connectionKb, chunkKb }
  return { machine: describeMachine(), chunks, runs, quantilesMs, memory, checks, pools }
}

/** Two loads that differ in everything from the runs that the costs come from. */
function listChecks(streams: number, seconds: number): Load[] {
  const answerSeconds = Math.min(seconds, 10)
  const toLoad = (share: number, tokensPerSecond: number, processes: number): Load => ({
    streams: Math.ceil(share * streams),
    tokensPerSecond,
    tokensPerAnswer: tokensPerSecond * answerSeconds,
    chunksPerChat: 0,
    processes,
  })
  return [toLoad(0.3, 10, 1), toLoad(0.5, 4, 2)]
}

/** Returns quantiles of the time for which statements use a connection while `work` runs through a proxy. */
async function measureTimes(
  stack: Stack,
  work: (tapped: Stack, onBegin: () => void) => Promise<unknown>,
): Promise<number[]> {
  const tap = await startTap(stack.directDatabaseUrl)
  const pools = poolSizes.map((poolSize) => [`pool_${poolSize}`, { poolSize }])
  try {
    await addNames(stack, { tapped: { port: tap.port }, ...Object.fromEntries(pools) })
    const forgetWarmUp = () => void tap.times.splice(0)
    await work({ ...stack, databaseUrl: withDatabase(stack.databaseUrl, 'tapped') }, forgetWarmUp)
    return toQuantiles(tap.times)
  } finally {
    tap.close()
  }
}

function toRun({ name, seconds, work, cost }: Awaited<ReturnType<typeof measureRun>>) {
  return { name, seconds, work, cost }
}

function describeMachine(): string {
  return `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'})`
}

const digits = 6 // significant ones
const roundNumbers = (_: string, value: unknown) =>
  typeof value === 'number' ? Number(value.toPrecision(digits)) : value
