import { once } from 'node:events'
import { accessSync, constants, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { env, execPath } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { readConfig } from '../../packages/config/src/index.ts'
import { buildPrograms } from './build.ts'
import { buildPage } from './page.ts'
import { onStopRequest, run, stopOrphans, takeLock } from './processes.ts'
import { isFree, type Stack, startStack } from './stack.ts'

// npm start and npm run dev (--watch): runs the stack, loads the sample documents, and runs the worker and the API
// until Ctrl-C.

const root = join(import.meta.dirname, '../..')
const inData = (name: string) => join(root, '.data', name)
const envFile = './env.mjs?.env' // a variable, because TypeScript knows no queries
const isWatching = process.argv.includes('--watch')
const stopping = new AbortController()
const { signal } = stopping

async function main(): Promise<void> {
  await import(envFile)
  let killNext = () => {}
  onStopRequest(() => (signal.aborted ? killNext() : stopping.abort()))
  const [host, port] = [env.HOST || '127.0.0.1', Number(env.PORT || 3000)]
  const url = `http://${/^(127\.|0\.0|::)/.test(host) ? 'localhost' : host}:${port}`
  if (!(port >= 1 && port <= 65_535)) throw new Error(`PORT must be a number from 1 to 65535, not ${env.PORT}`)
  // Reports an invalid environment before the slow steps.
  readConfig({ ...env, DATABASE_URL: 'postgres://127.0.0.1/later', AUTH: env.AUTH || 'off' })
  mkdirSync(inData(''), { recursive: true })
  accessSync(inData(''), constants.W_OK) // fails after an earlier start as root
  const owner = inData('start.owner')
  if (!takeLock(inData('start.lock'))) throw new Error(`already running: ${readFileSync(owner, 'utf8')}`)
  writeFileSync(owner, `pid ${process.pid}, ${url}`)
  await stopOrphans(inData('stack')) // an API that outlived its launcher holds the port
  if (!(await isFree(port, host)))
    throw new Error(`port ${port} is in use. Free it, or choose another port (PORT=3001 npm start)`)

  await buildPage(signal)
  if (!isWatching) await buildPrograms()
  const stack = await startStack({ directory: inData('stack'), report: console.log, signal })
  killNext = stack.killNext
  try {
    await startServices(stack, host, port)
    printWelcome(url)
    const end = await Promise.race([stack.exited, once(signal, 'abort')])
    if (end instanceof Error) throw end
  } finally {
    console.log('stopping')
    rmSync(inData('env'), { force: true })
    await stack.stop()
  }
}

async function startServices(stack: Stack, host: string, port: number): Promise<void> {
  const pooled = { DATABASE_URL: stack.databaseUrl, PGBOUNCER_ADMIN_URL: stack.pgbouncerAdminUrl }
  const all = { ...pooled, DIRECT_DATABASE_URL: stack.directDatabaseUrl }
  writeFileSync(
    inData('env'),
    Object.entries(all)
      .map((pair) => `${pair.join('=')}\n`)
      .join(''),
    { mode: 0o600 },
  )
  for (const script of ['migrate', 'seed']) {
    const output = await run([execPath, program('cli', script)], { signal, env: { ...env, ...all } })
    if (output) console.log(output)
  }
  const drainMs = Number(env.DRAIN_TIMEOUT_MS || 5000)
  const defaults = { AUTH: env.AUTH || 'off', LOG_LEVEL: env.LOG_LEVEL || 'warn', DRAIN_TIMEOUT_MS: `${drainMs}` }
  // The direct URL is for migrations only.
  const apiEnv = { ...env, ...pooled, ...defaults, DIRECT_DATABASE_URL: undefined, HOST: host, PORT: `${port}` }
  const watcher = isWatching ? [join(import.meta.dirname, 'watch.ts')] : []
  const worker = [execPath, ...watcher, program('worker', 'worker')]
  stack.start('worker', worker, { env: { ...apiEnv, PGBOUNCER_ADMIN_URL: undefined }, show: true })
  const command = [execPath, ...watcher, program('api', 'server')]
  stack.start('api', command, { env: apiEnv, graceMs: drainMs + 15_000, show: true })
  const ready = `http://${host.includes(':') ? '[::1]' : host.replace('0.0.0.0', '127.0.0.1')}:${port}/health/ready`
  const error = await Promise.race([waitUntilReady(ready), stack.exited])
  if (error) throw error
}

/** Returns the file of a program: its bundle, or its source in watch mode. */
function program(app: string, name: string): string {
  return join(root, 'apps', app, isWatching ? `src/${name}.ts` : `dist/${name}.js`)
}

async function waitUntilReady(url: string): Promise<void> {
  while (!(await fetch(url).catch(() => undefined))?.ok) await sleep(100, undefined, { signal })
}

function printWelcome(url: string): void {
  console.log(`
Sluice is running at ${url} (open it in a browser). API reference: ${url}/docs
Models: chat ${env.CHAT_MODEL || 'offline'}, embeddings ${env.EMBEDDING_MODEL || 'offline'}

  curl -N ${url.slice('http://'.length)}/chat -H 'content-type: application/json' -d '{"message":"Why does this project use PgBouncer?"}'

Press Ctrl-C to stop`)
}

// After a closed pipe (npm start | head), the servers must still be stopped.
for (const output of [process.stdout, process.stderr]) output.on('error', () => {})
main().then(
  () => process.exit(0),
  (error) => {
    if (!signal.aborted) console.error(error.message)
    process.exit(signal.aborted ? 0 : 1)
  },
)
