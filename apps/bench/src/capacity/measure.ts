import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import postgres, { type Sql } from 'postgres'
import { createTexts } from '../corpus/texts.ts'
import { type Stack, startTarget, type Target } from '../harness.ts'
import { type Load as ClientLoad, describeAnswer } from '../load/plan.ts'
import { startLoad } from '../load/start-load.ts'
import { createTally } from '../load/tally.ts'
import { findPids, measurePrivateKb, measureUsage } from '../watch/processes.ts'
import type { Cost, Load, Run } from './model.ts'
import { openConsole, readTotals } from './pooler.ts'

type Counts = ReturnType<typeof createTally>['counts']
type Plan = Omit<ClientLoad, 'url' | 'patienceMs'> & {
  name: string
  warmUpSeconds: number
  /** Between the ramp and the measurement, so that the last answers have begun. */
  settleSeconds: number
  processes?: number
  /** Called when the measurement begins. */
  onBegin?: () => void
}
/** A run, and the memory of the API before and with its streams. */
type Measured = Run & { apiKb: [before: number, after: number]; open: number; connectionKb: number }

const pollMs = 100 // as often as the load reports its counts
const warmUp = { clients: 20, rampMs: 0, tokens: 20, intervalMs: 5, isModelSet: false, seed: 2 }
const workerProgram = fileURLToPath(new URL('../../../worker/dist/worker.js', import.meta.url))
const chunksPerDocument = 50 // about 20 pages

/** Starts the API and a load, and measures `seconds` of it after its ramp. Throws if a request fails. */
export async function measureRun(stack: Stack, plan: Plan, seconds: number, signal: AbortSignal): Promise<Measured> {
  const { name, warmUpSeconds, processes = 1, onBegin, ...asked } = plan
  const env = { CHAT_MODEL: `mock?${describeAnswer(plan).join('&')}`, WEB_CONCURRENCY: `${processes}` }
  const target = await startTarget(stack, 'pooled', env)
  try {
    const load = { ...asked, url: target.url, isModelSet: true }
    const { perSecond: _, ...closed } = load
    const warm = { ...warmUp, seconds: warmUpSeconds * processes } // which share its requests
    await startLoad({ ...closed, ...warm }, signal).result
    const before = measureUsage(target.pids.server ?? 0)?.rssKb ?? 0
    const { counts, result } = startLoad(load, signal)
    while (counts.started === 0) await Promise.race([sleep(20), result])
    await sleep(load.rampMs + plan.settleSeconds * 1000, undefined, { signal })
    onBegin?.()
    const run = await measureWindow(target, counts, { name, processes }, () =>
      sleep(seconds * 1000, undefined, { signal }),
    )
    const after = measureUsage(target.pids.server ?? 0)?.rssKb ?? 0
    const connectionKb = measurePrivateKb(target.pids.postgres ?? 0)
    const { open } = counts
    const { failures, refused } = await result
    const failed = JSON.stringify({ ...failures, ...(refused > 0 && { refused }) })
    if (failed !== '{}')
      throw new Error(
        `Requests of the run "${name}" failed: ${failed}. Repeat it on a quiet machine, or with fewer --streams.`,
      )
    return { ...run, apiKb: [before, after], open, connectionKb }
  } finally {
    await target.stop()
  }
}

/** Measures what happens while `work` runs. */
async function measureWindow(
  target: Target,
  counts: Counts,
  { name, processes }: { name: string; processes: number },
  work: () => Promise<unknown>,
): Promise<Run> {
  const [admin, direct] = [openConsole(target), openDirect(target)]
  let streamSeconds = 0
  const poll = setInterval(() => (streamSeconds += (counts.open * pollMs) / 1000), pollMs)
  try {
    const first = await takeSnapshot(target, counts, admin, direct)
    streamSeconds = 0
    await work()
    const last = await takeSnapshot(target, counts, admin, direct)
    const gain = (read: (snapshot: typeof first) => number) => read(last) - read(first)
    const seconds = gain(({ atMs }) => atMs) / 1000
    const usage = (process: string) => gain(({ cpuMs }) => cpuMs[process] ?? 0)
    const cost: Cost = {
      ...{ api: usage('server'), worker: usage('worker'), pgbouncer: usage('pgbouncer'), postgres: usage('postgres') },
      ...{ walKb: gain(({ walKb }) => walKb), statements: gain(({ pooler }) => pooler.statements) },
      heldMs: gain(({ pooler }) => pooler.heldMs),
    }
    // A chat that began before or ends after is half inside.
    const chats = gain(({ counted }) => counted.started + counted.completed) / 2
    const tokens = gain(({ counted }) => counted.tokens)
    return {
      name,
      seconds,
      work: { chats, tokens, streamSeconds, chunks: 0, processSeconds: processes * seconds },
      cost,
    }
  } finally {
    clearInterval(poll)
    await Promise.all([admin.end(), direct.end()])
  }
}

async function takeSnapshot({ pids, env }: Target, counts: Counts, admin: Sql, direct: Sql) {
  const [[wal], pooler] = await Promise.all([
    direct<{ bytes: string }[]>`select pg_current_wal_insert_lsn() - '0/0' as bytes`,
    readTotals(admin, new URL(env?.DATABASE_URL ?? '').pathname.slice(1)),
  ])
  const cpuMs = Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, measureUsage(pid)?.cpuMs ?? 0]))
  return { atMs: performance.now(), counted: { ...counts }, cpuMs, pooler, walKb: Number(wal?.bytes ?? 0) / 1000 }
}

function openDirect({ directDatabaseUrl }: Pick<Stack, 'directDatabaseUrl'>): Sql {
  return postgres(directDatabaseUrl, { max: 1, fetch_types: false, max_lifetime: null })
}

/** Posts documents and measures until a worker has stored all their chunks. Also returns the size of a stored chunk. */
export async function measureIngestion(
  stack: Stack,
  documents: number,
  signal: AbortSignal,
): Promise<Run & { chunkKb: number }> {
  const target = await startTarget(stack, 'pooled')
  const worker = stack.start('worker', [process.execPath, workerProgram], { env: { ...target.env }, graceMs: 3000 })
  const direct = openDirect(stack)
  try {
    const { writeDocument } = createTexts(3)
    const ingest = async (numbers: number[]) => {
      await Promise.all(
        numbers.map((number) => post(target.url, `Ingested ${number}`, writeDocument(number, chunksPerDocument))),
      )
      while ((await countUnready(direct)) > 0)
        await Promise.race([sleep(pollMs, undefined, { signal }), fail(worker.ended)])
    }
    await ingest([0]) // V8 compiles, and connections open
    const countChunks = async () => Number((await direct`select count(*) as count from chunks`)[0]?.count)
    const before = await countChunks()
    const pids = { ...target.pids, ...findPids(stack.folder, ['worker']) }
    const numbers = Array.from({ length: documents }, (_, index) => index + 1)
    const counts = createTally().counts
    const run = await measureWindow({ ...target, pids }, counts, { name: 'ingestion', processes: 1 }, () =>
      ingest(numbers),
    )
    const after = await countChunks()
    const [size] = await direct`select pg_total_relation_size('chunks') as bytes`
    const chunkKb = Number(size?.bytes) / 1000 / after
    return { ...run, work: { ...run.work, chunks: after - before }, chunkKb }
  } finally {
    await worker.stop()
    await target.stop()
    await direct.end()
  }
}

async function fail(ended: Promise<Error>): Promise<never> {
  throw await ended
}

async function countUnready(sql: Sql): Promise<number> {
  const [row] = await sql`select count(*) as count from documents where status <> 'ready'`
  return Number(row?.count)
}

async function post(url: string, title: string, texts: string[]): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ title, text: texts.join('\n\n') })
  const response = await fetch(`${url}/documents`, { method: 'POST', headers, body })
  if (!response.ok) throw new Error(`The document was rejected: ${await response.text()}`)
}

/** The plan of a closed loop with a load's streams. */
export function toPlan({
  streams,
  tokensPerSecond,
  tokensPerAnswer,
  processes,
}: Load): Pick<Plan, 'clients' | 'tokens' | 'intervalMs' | 'rampMs' | 'processes'> {
  const intervalMs = 1000 / tokensPerSecond
  return { clients: streams, tokens: tokensPerAnswer, intervalMs, rampMs: tokensPerAnswer * intervalMs, processes }
}
