import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { env, execPath } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { onStopRequest, run, stopOrphans, takeLock } from './processes.ts'
import { isFree, type Stack, startStack } from './stack.ts'

// npm start, and npm run dev (--watch): the stack, the sample documents and the API, until Ctrl-C.

const root = join(import.meta.dirname, '../..')
const inData = (name: string) => join(root, '.data', name)
const inApi = (name: string) => join(root, 'apps/api/src', name)
const print = (line: string) => void process.stdout.write(`${line}\n`)
const shutdown = new AbortController()
const { signal } = shutdown

async function main(): Promise<void> {
  if (existsSync(join(root, '.env'))) process.loadEnvFile(join(root, '.env'))
  const [host, port] = [env.HOST || '127.0.0.1', Number(env.PORT || 3000)]
  if (!(port >= 1 && port <= 65_535)) throw new Error(`PORT should be a number from 1 to 65535, not ${env.PORT}`)
  const url = `http://${/^(127\.|0\.0|::)/.test(host) ? 'localhost' : host}:${port}`

  mkdirSync(inData(''), { recursive: true })
  if (!takeLock(inData('start.lock')))
    throw new Error(`already running: ${readFileSync(inData('start.owner'), 'utf8')}`)
  writeFileSync(inData('start.owner'), `pid ${process.pid}, ${url}`)
  await stopOrphans(inData('stack')) // an API that outlived its launcher holds the port
  if (!(await isFree(port, host)))
    throw new Error(`PORT ${port} is taken: free it or choose another, PORT=3001 npm start`)

  let hurry = () => {}
  onStopRequest(() => (signal.aborted ? hurry() : shutdown.abort()))
  const stack = await startStack({ directory: inData('stack'), report: print, signal })
  hurry = stack.hurry
  try {
    await startApi(stack, host, port)
    printWelcome(url)
    const end = await Promise.race([stack.died, once(signal, 'abort')])
    if (end instanceof Error) throw end
  } finally {
    print('stopping')
    rmSync(inData('env'), { force: true })
    await stack.stop()
  }
}

async function startApi(stack: Stack, host: string, port: number): Promise<void> {
  const {
    databaseUrl: DATABASE_URL,
    directDatabaseUrl: DIRECT_DATABASE_URL,
    pgbouncerAdminUrl: PGBOUNCER_ADMIN_URL,
  } = stack
  const urls = Object.entries({ DATABASE_URL, DIRECT_DATABASE_URL, PGBOUNCER_ADMIN_URL })
  writeFileSync(inData('env'), urls.map(([name, value]) => `${name}=${value}\n`).join(''), { mode: 0o600 })

  print(await run([execPath, inApi('migrate.ts')], { signal, env: { ...env, DIRECT_DATABASE_URL } }))
  print(await run([execPath, inApi('seed.ts')], { signal, env: { ...env, DATABASE_URL } }))
  const drainMs = Number(env.DRAIN_TIMEOUT_MS || 5000)
  const apiEnv = {
    ...env,
    DATABASE_URL,
    DIRECT_DATABASE_URL: undefined, // for migrations only
    PGBOUNCER_ADMIN_URL,
    AUTH: env.AUTH || 'off',
    HOST: host,
    PORT: `${port}`,
    LOG_LEVEL: env.LOG_LEVEL || 'warn',
    DRAIN_TIMEOUT_MS: `${drainMs}`,
  }
  const watch = process.argv.includes('--watch') ? ['--watch', '--watch-preserve-output'] : []
  const command = [execPath, ...watch, inApi('server.ts')]
  stack.start('api', command, { env: apiEnv, graceMs: drainMs + 5000, show: true })
  await Promise.race([
    waitUntilReady(`http://${host.replace('0.0.0.0', '127.0.0.1')}:${port}/health/ready`),
    stack.died,
  ])
}

async function waitUntilReady(url: string): Promise<void> {
  while (!signal.aborted) {
    const response = await fetch(url).catch(() => undefined)
    if (response?.ok) return
    await sleep(100)
  }
}

function printWelcome(url: string) {
  const curl = `curl -N ${url.slice('http://'.length)}/chat -H 'content-type: application/json'`
  print(`
Sluice runs at ${url}, its routes are explained at ${url}/docs
Models: chat ${env.CHAT_MODEL || 'offline'}, embeddings ${env.EMBEDDING_MODEL || 'offline'}

  ${curl} -d '{"message":"Why does this project use PgBouncer?"}'

Ctrl-C stops everything`)
}

process.stdout.on('error', () => {}) // a closed pipe (npm start | head) is no reason to leave the database behind
main().then(
  () => process.exit(0),
  (error) => {
    if (signal.aborted) process.exit(0)
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  },
)
