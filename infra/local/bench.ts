import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { runBench, runBenchLive } from '../../apps/bench/src/bench.ts'
import { reportCapacity, runCapacity } from '../../apps/bench/src/capacity/capacity.ts'
import { type Options, readOptions } from '../../apps/bench/src/options.ts'
import { findPids } from '../../apps/bench/src/watch/processes.ts'
import { buildPrograms } from './build.ts'
import { onStopRequest, takeLock } from './processes.ts'
import { findFreePort, startStack } from './stack.ts'

// npm run bench: runs apps/bench on its own temporary stack, or on a running `npm start`.

const stopping = new AbortController()
const { signal } = stopping

async function main(args: string[]): Promise<void> {
  const options = readOptions(args)
  if (!options) return
  if (options.capacity && options.from) return reportCapacity(options)
  onStopRequest(() => stopping.abort())
  await (options.live ? benchLive(options) : bench(options))
}

async function bench(options: Options): Promise<void> {
  const folder = options.folder
  mkdirSync(folder, { recursive: true })
  if (!takeLock(`${folder}.lock`)) throw new Error(`a bench is already running in ${folder}`)
  await buildPrograms()
  const stack = await startStack({ directory: folder, throwAway: true, report: console.error, signal })
  try {
    await (options.capacity ? runCapacity : runBench)(options, { ...stack, folder, findFreePort }, signal)
  } finally {
    await stack.stop()
  }
}

async function benchLive(options: Options): Promise<void> {
  const data = join(import.meta.dirname, '../../.data')
  if (!existsSync(join(data, 'env'))) throw new Error('Sluice is not running. Start it first (npm start)')
  process.loadEnvFile(join(data, 'env'))
  const url = /http\S+/.exec(readFileSync(join(data, 'start.owner'), 'utf8'))?.[0] ?? ''
  const { api: server = 0, ...database } = findPids(join(data, 'stack'), ['api', 'postgres', 'pgbouncer'])
  const { DIRECT_DATABASE_URL: directDatabaseUrl = '', PGBOUNCER_ADMIN_URL: pgbouncerAdminUrl = '' } = env
  const pids = { server, ...database }
  await runBenchLive(options, { url, pids, directDatabaseUrl, pgbouncerAdminUrl, stop: async () => undefined }, signal)
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error) => {
    if (!signal.aborted) console.error(error.message)
    process.exit(signal.aborted ? 130 : 1)
  },
)
